"""Token-level alignment of spoken and written questions: paths, scores, monotonicity, consistency, chance levels."""
