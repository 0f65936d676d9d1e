"""What a study consists of and ends in, and which definitions of the code decide its numbers."""
