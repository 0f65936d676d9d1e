"""Checks the config files of a study before Snakemake does: `python -m workflow_scripts.settings.check [FILE ...]`.

Snakemake reads the files of `--configfile` before the workflow, and what it says of one that is not YAML names neither
file nor line. `make all` and `make plan` run this first.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from snakemake.utils import update_config

from workflow_scripts.settings import ConfigError, ConfigFiles, parse_config

DEFAULTS = ("assets.yaml", "config.yaml")


def check(overlays: Sequence[str]) -> None:
    """Read and validate the default files and `overlays` of the current folder, as the workflow will.

    Raises:
        ConfigError: naming file, line, key and remedy.
    """
    files = ConfigFiles([*DEFAULTS, *overlays])
    merged: dict = {}
    for path in files.paths:
        update_config(merged, yaml.safe_load(path.read_text(encoding="utf-8")))
    parse_config(merged, files, Path.cwd())


if __name__ == "__main__":
    try:
        check(sys.argv[1:])
    except ConfigError as error:
        sys.exit(str(error))
