"""Parts of `plan.Plan`: names of a study, what it ends in, and which modules decide its numbers."""
