"""From merged config values to a valid `Config`, every problem named by key, file and line."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.settings.base import ConfigError, nearest
from workflow_scripts.settings.config import Config
from workflow_scripts.settings.cross_checks import contradictions, missing_paths
from workflow_scripts.settings.families.public import WEIGHTS, PublicModel
from workflow_scripts.settings.files import ConfigFiles, without_removed

POWER = re.compile(r"[+-]?\d+e[+-]?\d+", re.IGNORECASE)
"""A number that YAML 1.1 does not take for one."""


def parse_config(values: Mapping[str, Any], files: ConfigFiles | None = None, folder: Path | None = None) -> Config:
    """Validate a merged config mapping.

    Args:
        files: the files that it was merged from, to name file and line of each problem.
        folder: where relative paths start; given, files and folders that the config names must exist.

    Raises:
        ConfigError: one line per problem, each with the key's path, the offending value and a remedy; an unknown key
            comes with the nearest valid one.
    """
    try:
        config = Config.model_validate(with_model_weights(without_removed(values)))
    except ValidationError as error:
        problems = list(_explained(error.errors(), values))
    else:
        problems = list(contradictions(config))
        if folder is not None:
            problems += missing_paths(config, folder)
    if problems:
        lines = [f"{message}{_at(place, files)}" for place, message in problems]
        raise ConfigError("config is not valid:\n  " + "\n  ".join(lines))
    return config


def _at(place: Sequence[Any], files: ConfigFiles | None) -> str:
    where = None if files is None else files.where(place)
    return "" if where is None else f" ({where})"


def with_model_weights(values: dict[str, Any]) -> dict[str, Any]:
    """The config with an asset for every model that names its own `hub` or `path`: one entry adds a model.

    Entries that are not valid are left alone; validation then says what is wrong with them.
    """
    entries = values.get("models")
    if not isinstance(entries, dict) or not isinstance(values.get("assets"), dict):
        return values
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            continue
        source = {key: entry[key] for key in ("hub", "revision", "path") if entry.get(key) is not None}
        if not source.keys() & {"hub", "path"}:
            continue
        licence = entry.get("licence", PublicModel.model_fields["licence"].default)
        asset = {"format": "transformers", "licence": licence, "sources": [source]}
        with suppress(ValidationError):
            AssetSettings.model_validate(asset)
            values["assets"].setdefault(f"{name}{WEIGHTS}", asset)
    return values


def _explained(problems: Sequence[Mapping[str, Any]], values: Mapping[str, Any]) -> Iterator[tuple[Sequence[Any], str]]:
    """Place and message of each problem; all that one entry lacks is one of them: mostly its name is mistyped."""
    lacking: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for problem in problems:
        if problem["type"] == "missing":
            lacking[problem["loc"][:-1]].append(str(problem["loc"][-1]))
    for problem in problems:
        entry, last = problem["loc"][:-1], str(problem["loc"][-1])
        if problem["type"] != "missing" or len(lacking[entry]) == 1:
            yield problem["loc"], _explain(problem)
        elif last == lacking[entry][0]:
            place, others = _entry(entry, values)
            near = difflib.get_close_matches(str(place[-1]), others, n=1) if place else []
            hint = f"; did you mean {near[0]!r}?" if near else ""
            yield entry, f"{'.'.join(map(str, place)) or 'the config'}: lacks {', '.join(lacking[entry])}{hint}"


def _entry(place: Sequence[Any], values: Any) -> tuple[list[Any], list[str]]:
    """The part of `place` that stands in the config (tags of a family do not), and the entries beside its last key."""
    found: list[Any] = []
    others: list[str] = []
    for part in place:
        if isinstance(values, Mapping) and part in values:
            others = [str(name) for name in values if name != part]
        elif isinstance(values, list) and isinstance(part, int):
            others = []
        else:
            break
        found, values = [*found, part], values[part]
    return found, others


def _explain(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = _sibling_fields(problem["loc"])
        return f"{place}: unknown key{nearest(str(problem['loc'][-1]), fields) if fields else ''}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("missing", "value_error"):
        return f"{place}: {message}" if place else message
    if isinstance(found := problem["input"], str) and POWER.fullmatch(found):
        message += f"; YAML reads {found} as text: write {found.lower().replace('e', '.0e')}"
    return f"{place}: {message} (found {found!r})"


def _sibling_fields(place: tuple[Any, ...]) -> list[str]:
    """Names that are valid beside the unknown key at `place`, found by walking the JSON schema."""
    schema = Config.model_json_schema()
    nodes = [schema]
    for part in place[:-1]:
        nodes = [found for node in nodes for found in _descend(schema, node, part)]
    return sorted({name for node in nodes for name in _resolve(schema, node).get("properties", {})})


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _family_of(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
    return _resolve(schema, node).get("properties", {}).get("family", {}).get("const")


def _descend(schema: Mapping[str, Any], node: Mapping[str, Any], part: Any) -> Iterator[Mapping[str, Any]]:
    node = _resolve(schema, node)
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if tagged := [choice for choice in choices if _family_of(schema, choice) == part]:
        # The tag of a model's family stands in the place but is no key.
        yield from tagged
        return
    below = [found for choice in choices for found in _descend(schema, choice, part)]
    if isinstance(part, int) and "items" in node:
        yield node["items"]
    elif part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(node.get("additionalProperties"), Mapping):
        yield node["additionalProperties"]
    elif below:
        yield from below
    elif (tagged := node.get("discriminator", {}).get("mapping", {}).get(part)) is not None:
        # The tag of a union, such as an engine's name, stands in the place but is no key.
        yield {"$ref": tagged}
    else:
        yield from choices
