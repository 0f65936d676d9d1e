"""Performance programs: ours against what a researcher would otherwise write, in one run, as ratios."""
