"""What linear probes read off the hidden states of words and questions, by layer and form."""
