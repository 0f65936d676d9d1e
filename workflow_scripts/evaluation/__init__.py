"""Answers of every model to every question in each form, their scores, and the modality gap."""
