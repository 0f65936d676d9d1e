"""Answers that another program has written, audited without a model: the modality gap under every scorer."""
