"""Greedy decoding: caches, batches, and continuations of one prompt."""
