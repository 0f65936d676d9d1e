"""The config as typed, documented models (see config.py); unknown keys are errors."""

from workflow_scripts.settings.config import INSTRUCTIONS, PUNKT, Config, ConfigError, parse_config
from workflow_scripts.settings.duplicate_keys import refuse_duplicate_keys

__all__ = ["INSTRUCTIONS", "PUNKT", "Config", "ConfigError", "parse_config", "refuse_duplicate_keys"]
