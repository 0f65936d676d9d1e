"""Speech language models that the workflow trains: encoder, adapter, LoRA, checkpoints."""
