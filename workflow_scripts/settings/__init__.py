"""The config as typed, documented models (see config.py); unknown keys are errors."""

from workflow_scripts.settings.base import ConfigError
from workflow_scripts.settings.config import INSTRUCTIONS, PUNKT, Config
from workflow_scripts.settings.files import ConfigFiles, read_mapping
from workflow_scripts.settings.parsing import parse_config
from workflow_scripts.settings.study import DEFAULTS, read_study

__all__ = [
    "DEFAULTS",
    "INSTRUCTIONS",
    "PUNKT",
    "Config",
    "ConfigError",
    "ConfigFiles",
    "parse_config",
    "read_mapping",
    "read_study",
]
