"""States exchanged between the written and the spoken form of a question."""
