"""Answers and scores of a study in the formats that other programs read."""
