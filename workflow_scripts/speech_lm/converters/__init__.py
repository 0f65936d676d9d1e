"""Published checkpoints in the layouts that the families read."""
