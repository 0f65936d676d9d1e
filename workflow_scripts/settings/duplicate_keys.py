"""Refuses config files in which a key stands twice: YAML readers keep the last one and say nothing."""

from collections.abc import Iterator
from pathlib import Path

import yaml

from workflow_scripts.settings.config import ConfigError


def refuse_duplicate_keys(path: Path) -> None:
    """Check a YAML (or JSON) file.

    Raises:
        ConfigError: a mapping has a key twice, as when an entry was copied and not renamed; names file, key and lines.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=loader)
    if problems := list(_duplicates(document, ())):
        raise ConfigError(f"{path} is not valid:\n  " + "\n  ".join(problems))


def _duplicates(node: yaml.Node | None, place: tuple[str, ...]) -> Iterator[str]:
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
