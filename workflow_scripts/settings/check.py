"""Checks the config files of a study before Snakemake does: `python -m workflow_scripts.settings.check [FILE ...]`.

The files are laid over config.yaml and assets.yaml in their order.

Snakemake reads the files of `--configfile` before the workflow, and what it says of one that is not YAML names neither
file nor line. `make all` and `make plan` run this first.
"""

import sys
from pathlib import Path

from workflow_scripts.settings import ConfigError, read_study

if __name__ == "__main__":
    try:
        read_study(Path(), sys.argv[1:])
    except ConfigError as error:
        sys.exit(str(error))
    print("config is valid")
