"""Speech language models behind one protocol: read their hidden states, replace them, let them answer."""
