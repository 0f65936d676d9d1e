"""Sequence-level similarity of spoken and written questions by layer, beside its chance level."""
