"""Similarity and alignment per checkpoint, and how well they predict the modality gap."""
