"""Hidden states of spoken and written questions, all layers, streamed to one file per shard."""
