"""Answers after edits of speech vectors along the alignment path, and their tests against the unedited answers."""
