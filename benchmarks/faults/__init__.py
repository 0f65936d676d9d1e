"""Faults on purpose: bad configs, damaged files, kills and full disks; what a study makes of each."""
