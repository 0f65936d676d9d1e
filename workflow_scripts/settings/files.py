"""Config files as a user wrote them: read with line numbers, so that a wrong key is named with its file and line.

Snakemake merges the files given and keeps no trace of where a value came from. What can go wrong in the files
themselves (encoding, tabs, a key that stands twice, a `null` for an entry that does not exist) is refused here.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from workflow_scripts.settings.base import ConfigError, nearest

NAMED_SECTIONS = (
    "assets",
    "benchmark.subsets",
    "speech.voices",
    "training.recipes",
    "models",
    "intervention.operations",
    "display.models",
    "display.subsets",
)
"""Sections whose entries a later file removes by setting them to null."""

Place = tuple[str, ...]


class ConfigFiles:
    """The files of a study in the order in which they are merged; later ones win."""

    def __init__(self, paths: Sequence[Path | str]) -> None:
        """Read every file.

        Raises:
            ConfigError: a file cannot be read as one YAML mapping, has a key twice, or removes an entry that no earlier
                file has; names file, line and remedy.
        """
        self.paths = [Path(path) for path in paths]
        self._lines: list[dict[Place, int]] = []
        defined: dict[str, set[str]] = {section: set() for section in NAMED_SECTIONS}
        for path in self.paths:
            document = read_mapping(path)
            problems = list(_duplicates(document, ()))
            lines: dict[Place, int] = {}
            for place, node, line in _places(document, ()):
                lines.setdefault(place, line)
                section, name = ".".join(place[:-1]), place[-1]
                if section not in defined:
                    continue
                if node.tag != "tag:yaml.org,2002:null":
                    defined[section].add(name)
                elif name not in defined[section] and section != "display.models":
                    known = sorted(defined[section])
                    problems.append(
                        f"line {line}: {section}.{name}: null removes nothing, no file before this has such an entry"
                        f"{nearest(name, known) if known else ''}"
                    )
            if problems:
                raise ConfigError(f"{path} is not valid:\n  " + "\n  ".join(problems))
            self._lines.append(lines)

    def where(self, place: Sequence[Any]) -> str | None:
        """File and line that set the value at `place`, or the nearest key above it; None if no file does."""
        parts = tuple(str(part) for part in place)
        for length in range(len(parts), 0, -1):
            for path, lines in zip(reversed(self.paths), reversed(self._lines), strict=True):
                if parts[:length] in lines:
                    return f"{path}, line {lines[parts[:length]]}"
        return None


def read_mapping(path: Path) -> yaml.MappingNode:
    """The document of a YAML (or JSON) file, with the positions of its parts.

    Raises:
        ConfigError: the file is missing, a folder, not UTF-8, not YAML, empty, several documents or not a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such config file, looked for in {Path.cwd()}") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a folder; name a config file in it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise ConfigError(f"{path}, line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    try:
        documents = _documents(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        tab = line <= len(lines := text.splitlines()) and "\t" in lines[line - 1]
        hint = "; the line has a tab, YAML wants spaces" if tab else ""
        raise ConfigError(f"{path}, line {line}: not YAML: {error.problem or error.context}{hint}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise ConfigError(f"{path}, line {line}: a second document starts here; a config file holds one, remove '---'")
    if not documents or documents[0].tag == "tag:yaml.org,2002:null":
        raise ConfigError(f"{path} is empty; write the keys that differ from config.yaml, or leave the file out")
    if not isinstance(documents[0], yaml.MappingNode):
        raise ConfigError(f"{path}, line {documents[0].start_mark.line + 1}: keys are expected here, such as `models:`")
    return documents[0]


@cache
def _documents(text: str) -> list[yaml.Node]:
    """The documents of a text, parsed once: `assets.yaml` and `config.yaml` are read twice while a study is planned."""
    # Not the C loader: it takes files with tabs that the one Snakemake uses refuses.
    return list(yaml.compose_all(text, Loader=yaml.SafeLoader))


def _places(node: yaml.Node, place: Place) -> Iterator[tuple[Place, yaml.Node, int]]:
    """Every key and list item below `node`: its place, its value and its line."""
    if isinstance(node, yaml.MappingNode):
        below = [(key.value, value, key) for key, value in node.value if isinstance(key, yaml.ScalarNode)]
    elif isinstance(node, yaml.SequenceNode):
        below = [(str(number), value, value) for number, value in enumerate(node.value)]
    else:
        below = []
    for name, value, marked in below:
        yield (*place, name), value, marked.start_mark.line + 1
        yield from _places(value, (*place, name))


def _duplicates(node: yaml.Node, place: Place) -> Iterator[str]:
    """Keys that stand twice: YAML readers keep the last one and say nothing."""
    if isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _duplicates(item, (*place, str(number)))
    elif isinstance(node, yaml.MappingNode):
        first: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue  # no config key is a list; the config's own check names it
            line = key.start_mark.line + 1
            if key.value in first:
                where = ".".join((*place, key.value))
                yield f"{where}: the key stands in lines {first[key.value]} and {line}; rename or remove one of them"
            first.setdefault(key.value, line)
            yield from _duplicates(value, (*place, key.value))


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The merged config without entries set to null in its named sections, and without what belongs to them.

    Controls of a removed edit and the display entry of a removed model or subset go with them. What is not a mapping is
    left alone: validation says what is wrong with it.
    """
    result = dict(values)
    benchmark = result.get("benchmark")
    subsets = benchmark.get("subsets") if isinstance(benchmark, Mapping) else None
    undisplayed = {"display.models": _removed(result.get("models")), "display.subsets": _removed(subsets)}
    for section in NAMED_SECTIONS:
        *parents, last = section.split(".")
        node: Any = result
        for part in parents:
            if not isinstance(node.get(part), Mapping):
                break
            node[part] = dict(node[part])
            node = node[part]
        else:
            if isinstance(entries := node.get(last), Mapping):
                gone = _removed(entries) | undisplayed.get(section, set())
                node[last] = {name: entry for name, entry in entries.items() if name not in gone}
                if section == "intervention.operations":
                    node[last] = {name: one for name, one in node[last].items() if not _control_of(one, gone)}
    return result


def _removed(entries: Any) -> set[str]:
    return {name for name, entry in entries.items() if entry is None} if isinstance(entries, Mapping) else set()


def _control_of(entry: Any, removed: set[str]) -> bool:
    of = entry.get("of") if isinstance(entry, Mapping) else None
    return isinstance(of, str) and of in removed
