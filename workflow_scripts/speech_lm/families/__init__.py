"""Kinds of speech language models, and what they share."""
