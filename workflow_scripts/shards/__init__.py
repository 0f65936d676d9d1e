"""Training prompts in shards: split into files of their own, and joined to one index."""
