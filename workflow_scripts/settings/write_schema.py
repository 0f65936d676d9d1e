"""Write the config's JSON schema and its manual page: `python -m workflow_scripts.settings.write_schema`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.settings.config import Config

SCHEMA_FILE = Path(__file__).with_name("config.schema.json")
MANUAL_FILE = Path(__file__).parents[2] / "docs" / "config.md"
INTRODUCTION = """# Every key of the config

Generated from the settings models; do not edit (`python -m workflow_scripts.settings.write_schema`).

A study is `assets.yaml` + `config.yaml` + the files given by `--configfile`, merged in this order. Unknown keys are
errors that name the nearest valid one. `null` removes an entry of `assets`, `models`, `benchmark.subsets`,
`speech.voices`, `training.recipes`, `intervention.operations` and `display.models`.
"""


def schema_text() -> str:
    """The schema as it must stand in config.schema.json."""
    return json.dumps(Config.model_json_schema(), indent=1, sort_keys=True) + "\n"


def manual_text() -> str:
    """The manual page as it must stand in docs/config.md: one table per section."""
    schema = Config.model_json_schema()
    sections = [_section("the top level", schema)]
    sections += [_section(name, model) for name, model in schema["$defs"].items() if "properties" in model]
    return INTRODUCTION + "\n" + "\n".join(sections)


def _section(name: str, model: Mapping[str, Any]) -> str:
    description = model.get("description", "").strip().split("\n\n")[0].replace("\n", " ")
    rows = "\n".join(_rows(model))
    return f"## {name}\n\n{description}\n\n| key | type | default | meaning |\n|---|---|---|---|\n{rows}\n"


def _rows(model: Mapping[str, Any]) -> Iterator[str]:
    required = model.get("required", ())
    for key, field in model["properties"].items():
        default = "required" if key in required else f"`{json.dumps(field.get('default'))}`"
        meaning = field.get("description", "").replace("|", "\\|")
        yield f"| `{key}` | {_type(field)} | {default if len(default) < 60 else 'see below'} | {meaning} |"


def _type(field: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return field["$ref"].rsplit("/", 1)[-1]
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    choices = field.get("anyOf") or field.get("oneOf")
    if choices:
        return " or ".join(dict.fromkeys(_type(choice) for choice in choices))
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if isinstance(field.get("additionalProperties"), Mapping):
        return f"map of {_type(field['additionalProperties'])}"
    return field.get("type", "any")


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    MANUAL_FILE.write_text(manual_text(), encoding="utf-8")
