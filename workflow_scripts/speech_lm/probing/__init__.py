"""Edits of spoken prompts, and states along a given response."""
