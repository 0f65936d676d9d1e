"""One module of source as definitions: what each says, without all that cannot change a number.

A definition is a top-level function, class or name with every statement that binds or changes it. It is written as text
in which the names of other definitions are gaps, listed beside it, so that it can be compared wherever it lies and
whatever the others are called. Left out: comments, formatting, docstrings, type hints (but not those that pydantic
reads), calls of a logger and of `warnings`, statements that only check (`check_...(...)`), the texts of exceptions, of
`assert` and of descriptions. Names of local variables are numbered. A top-level mapping or sequence of named entries
(`{"key": ...}`, `(Entry("key", ...), ...)`) is a table: its entries are kept apart, so that a step can depend on those
that it uses.

Only `ast` reads the source; nothing is imported.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.planning.forms import EFFECTS, MAIN, Source
from workflow_scripts.planning.syntax import (
    bound_names,
    changed_names,
    imported_names,
    is_log,
    is_logger,
    is_text,
    is_type_checking,
    mentions,
)
from workflow_scripts.planning.writer import Writer


def read_source(text: str, module: str, is_package: bool = False, path: Path | str = "") -> Source:
    """The definitions of the module `module` (dotted) with the source `text`, which lies at `path`."""
    source = Source()
    statements: dict[str, list[ast.stmt]] = {MAIN: [], EFFECTS: []}
    tree = ast.parse(text, str(path))
    source.imports = imported_names(tree.body, module, is_package)
    loggers = {"logging": "logging", "warnings": "warnings"} | {
        name: "logging" for node in tree.body for name in bound_names(node) if is_logger(node)
    }
    for node in tree.body:
        if isinstance(node, ast.If) and mentions(node.test, "__name__"):
            statements[MAIN] += node.body
        elif isinstance(node, (ast.Import, ast.ImportFrom)) or is_text(node) or is_type_checking(node):
            continue
        elif names := bound_names(node) or changed_names(node, statements):
            for name in names:
                statements.setdefault(name, []).append(node)
        elif not is_log(node, loggers):
            statements[EFFECTS].append(node)
    for name, nodes in statements.items():
        if not nodes:
            continue
        source.definitions[name] = Writer(source.imports, loggers).form(nodes)
        value = getattr(nodes[0], "value", None)
        if len(nodes) == 1 and isinstance(value, ast.Constant) and isinstance(value.value, str):
            source.constants[name] = value.value
        if len(nodes) == 1 and isinstance(value, ast.Call) and value.keywords:
            source.records[name] = Writer(source.imports, loggers).entry(None, value)
        entries = list(_entries(value)) if len(nodes) == 1 else []
        if entries and all(key is not None for key, _ in entries):
            writer = Writer(source.imports, loggers)
            source.tables[name] = [writer.entry(key, node) for key, node in entries]
    return source


def _entries(value: ast.AST | None) -> Iterator[tuple[ast.expr | None, ast.expr]]:
    """Keys and values of a mapping, or first arguments and calls of a sequence or of a mapping made of one."""
    if isinstance(value, ast.Dict):
        yield from zip(value.keys, value.values)
    elif isinstance(value, (ast.Tuple, ast.List)):
        for node in value.elts:
            keywords = {word.arg: word.value for word in getattr(node, "keywords", ())}
            yield (node.args[0] if getattr(node, "args", None) else keywords.get("name")), node
    elif isinstance(value, ast.DictComp) and len(value.generators) == 1:
        yield from _entries(value.generators[0].iter)
