"""Names in a syntax tree: which ones a statement binds, changes or imports; and which statements only talk."""

import ast
import re
from typing import Any

OF_FILES = {"OSError", "FileNotFoundError", "FileExistsError", "PermissionError", "ImportError", "PackageNotFoundError"}
"""Errors of files and imports."""


def dotted(node: ast.AST | None) -> str | None:
    """`a.b.c` of a chain of attributes that begins with a name; None for any other expression."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (value := dotted(node.value)) is not None:
        return f"{value}.{node.attr}"
    return None


def imported_names(nodes: list[ast.stmt], module: str, is_package: bool) -> dict[str, str]:
    """Dotted target of every name that import statements bind, those in branches included."""
    found = {}
    for node in nodes:
        for part in ast.walk(node) if isinstance(node, (ast.If, ast.Try)) else [node]:
            found |= imported_by(part, module, is_package)
    return found


def imported_by(node: ast.AST, module: str = "", is_package: bool = False) -> dict[str, str]:
    if isinstance(node, ast.Import):
        return {
            one.asname or one.name.split(".")[0]: one.name if one.asname else one.name.split(".")[0]
            for one in node.names
        }
    if isinstance(node, ast.ImportFrom):
        parts = module.split(".")
        above = ".".join(parts[: len(parts) - node.level + is_package]) if node.level else ""
        source = ".".join(filter(None, (above, node.module)))
        return {one.asname or one.name: f"{source}.{one.name}" for one in node.names}
    return {}


def target_names(node: ast.AST) -> list[str]:
    """Names that an assignment to `node` binds."""
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)]


def bound_names(node: ast.AST) -> list[str]:
    """Names that a statement of a module binds, in its branches too."""
    return list(dict.fromkeys(bindings([node])[0]))


def bindings(body: list[Any]) -> tuple[list[str], dict[str, str], set[str]]:
    """Names bound by statements of one scope, what its imports mean, and the names it declares global or nonlocal."""
    bound: dict[str, None] = {}
    imports: dict[str, str] = {}
    outer: set[str] = set()
    waiting = list(reversed(body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            outer.update(node.names)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= imported_by(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound[node.name] = None
            continue
        elif isinstance(node, ast.Lambda):
            continue
        elif isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
            bound[node.id] = None
        elif isinstance(node, (ast.MatchAs, ast.MatchStar, ast.ExceptHandler)) and node.name:
            bound[node.name] = None
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            bound |= {part.target.id: None for part in ast.walk(node) if isinstance(part, ast.NamedExpr)}
            continue
        waiting.extend(reversed(list(ast.iter_child_nodes(node))))
    return list(bound), imports, outer


def changed_names(node: ast.stmt, known: Any) -> list[str]:
    """Names of the module that a statement changes without binding them: `NAME[key] = ...`, `NAME.update(...)`."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute):
        targets = [node.value.func]
    found = []
    for target in targets:
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            target = target.value
        if isinstance(target, ast.Name) and target.id in known:
            found.append(target.id)
    return found


def mentions(node: ast.AST, name: str) -> bool:
    return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(node))


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and (dotted(node.test) or "").rpartition(".")[2] == "TYPE_CHECKING"


def is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def is_text(node: ast.AST) -> bool:
    """A docstring, or a text beneath a constant."""
    return isinstance(node, ast.Expr) and is_string(node.value)


def is_logger(node: ast.stmt) -> bool:
    value = getattr(node, "value", None)
    return isinstance(value, ast.Call) and (dotted(value.func) or "").rpartition(".")[2] == "getLogger"


def is_check(node: ast.AST) -> bool:
    """A call of a function `check_...` or `require_...` as a statement: by convention it only refuses."""
    call = getattr(node, "value", None) if isinstance(node, ast.Expr) else None
    name = (dotted(call.func) or "").rpartition(".")[2] if isinstance(call, ast.Call) else ""
    return re.fullmatch(r"_?(check|require)(_\w+)?", name) is not None


def ends(handler: ast.ExceptHandler) -> bool:
    """Whether what catches an error raises one or ends the program; of files and imports, no check tells."""
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    if all((dotted(one) or "") in OF_FILES for one in caught):
        return True
    calls = [dotted(part.func) for part in ast.walk(handler) if isinstance(part, ast.Call)]
    return any(isinstance(part, ast.Raise) for part in ast.walk(handler)) or "sys.exit" in calls


def is_log(node: ast.AST, loggers: dict[str, str]) -> bool:
    """A call of a logger or of `warnings`, as a statement."""
    call = getattr(node, "value", None)
    return (
        isinstance(node, ast.Expr) and isinstance(call, ast.Call) and (dotted(call.func) or "").split(".")[0] in loggers
    )
