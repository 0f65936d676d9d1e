"""Writes pieces of a syntax tree as text in which everything stands that can change a number, and nothing else.

See `definitions` for what is left out.
"""

import ast
import re
from collections.abc import Callable
from typing import Any

from workflow_scripts.planning.forms import CAUGHT, GAP, PACKAGE, Entry, Form
from workflow_scripts.planning.syntax import bindings, dotted, ends, is_check, is_log, is_string, is_text, target_names

REMARKS = tuple(f"{PACKAGE}.artifacts.{name}" for name in ("logs", "provenance"))
"""Modules that say how a result came about: their functions pass on what they are given and decide no number."""
_TEXTS = {"description", "title", "examples", "custom_error_type", "custom_error_message"}
_REFERENCE = re.compile(r"(?:\w+\.)*\w+:\w+|" + PACKAGE + r"(?:\.\w+)+")


class Writer:
    """Writes nodes as text with gaps. `scopes`: names of the enclosing functions, each with what it is written as."""

    def __init__(self, imports: dict[str, str], loggers: dict[str, str]):
        self.imports, self.loggers = imports, loggers
        self.scopes: list[dict[str, str]] = []
        self.inner: list[dict[str, str]] = []
        self.count = self.caught = 0
        self.out: list[str] = []
        self.result = Form()

    def form(self, nodes: list[Any]) -> Form:
        """The form of statements of the module, or of expressions."""
        self.count = 0
        return self.aside(nodes, self.top)

    def aside(self, nodes: list[Any], write: Callable[[Any], None] | None = None) -> Form:
        """The form of some nodes, in the present scopes."""
        before = self.out, self.result
        self.out, self.result = [], Form()
        for node in nodes:
            (write or self.node)(node)
        form = self.result
        form.text = "".join(self.out)
        form.attributes = sorted(set(form.attributes))
        self.out, self.result = before
        return form

    def entry(self, key: ast.expr | None, node: ast.expr) -> Entry:
        """An entry of a table; the key as text, or as gap and name where it is a constant defined elsewhere."""
        name = key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else GAP + (dotted(key) or "")
        if not (isinstance(node, ast.Call) and dotted(node.func)):
            return Entry(name, self.form([node]))
        head = ast.Call(func=node.func, args=node.args, keywords=[word for word in node.keywords if word.arg is None])
        fields = {word.arg: self.form([word.value]) for word in node.keywords if word.arg is not None}
        return Entry(name, self.form([head]), fields)

    def top(self, node: Any) -> None:
        """A statement of the module; the name that it defines is not written, so it can be renamed."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            self.definition(node, "")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if node.value is not None:
                self.write("=")
                self.node(node.value)
        elif isinstance(node, ast.Assign) and all(isinstance(target, ast.Name) for target in node.targets):
            self.write("=")
            self.node(node.value)
        else:
            self.node(node)

    def write(self, *pieces: str) -> None:
        self.out.extend(f"{piece} " for piece in pieces)

    def gap(self, name: str) -> None:
        """A name from outside; the definition's own name is one too."""
        self.write(GAP)
        self.result.names.append(CAUGHT * (self.caught > 0) + name)
        self.result.attributes.extend(name.split(".")[1:])

    def node(self, node: Any) -> None:
        """Write a node: special cases by class, everything else as its class and its parts."""
        if node is None:
            return
        if isinstance(node, list):
            for one in node:
                self.node(one)
            return
        if not isinstance(node, ast.AST):
            self.write(repr(node))
            return
        special = getattr(self, f"_{type(node).__name__}", None)
        if special is not None:
            special(node)
        elif isinstance(node, ast.expr_context):
            pass
        else:
            self.write(f"({type(node).__name__}")
            for name, value in ast.iter_fields(node):
                if value is not None and value != [] and name not in ("ctx", "type_comment", "kind"):
                    self.write(f"{name}:")
                    self.node(value)
            self.write(")")

    # --- names -------------------------------------------------------------------------------------------------

    def local(self, name: str) -> str | None:
        """What a name of an enclosing function is written as; None if it comes from outside."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def outside(self, node: ast.expr) -> str | None:
        """The dotted name of an expression that begins outside of the definition."""
        name = dotted(node)
        if name is None:
            return None
        first, dot, rest = name.partition(".")
        if self.local(first) is not None:
            return None
        for imports in reversed(self.inner):
            if first in imports:
                return f"={imports[first]}{dot}{rest}"
        return name

    def _Name(self, node: ast.Name) -> None:
        written = self.local(node.id)
        if written is not None:
            self.write(written)
        elif (name := self.outside(node)) is not None:
            self.gap(name)

    def _Attribute(self, node: ast.Attribute) -> None:
        if (name := self.outside(node)) is not None:
            self.gap(name)
            return
        self.result.attributes.append(node.attr)
        self.write("(.")
        self.node(node.value)
        self.write(node.attr, ")")

    def _Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            if _REFERENCE.fullmatch(node.value):
                self.write("(text")
                self.gap(f"={node.value}" if ":" in node.value else f"={node.value}:")
                self.write(")")
                return
            if node.value.isidentifier():
                self.result.attributes.append(node.value)
        self.write(repr(node.value))

    # --- what cannot change a number ---------------------------------------------------------------------------

    def _Expr(self, node: ast.Expr) -> None:
        if is_text(node) or is_log(node, self.loggers):
            return
        if is_check(node) and not self.caught:
            check, before = self.aside([node.value]), self.result.checks or Form()
            names, attributes = before.names + check.names, before.attributes + check.attributes
            self.result.checks = Form(before.text + check.text, names, attributes)
        else:
            self.node(node.value)

    def _Try(self, node: ast.Try) -> None:
        self.write("(try")
        caught = any(not ends(handler) for handler in node.handlers)
        self.caught += caught
        self.node(node.body)
        self.caught -= caught
        self.write("except")
        self.node([node.handlers, node.orelse])
        self.write("finally")
        self.node(node.finalbody)
        self.write(")")

    def _With(self, node: ast.With) -> None:
        self.write("(with")
        self.node(node.items)
        caught = any("suppress" in ast.dump(item.context_expr) for item in node.items)
        self.caught += caught
        self.node(node.body)
        self.caught -= caught
        self.write(")")

    def _Pass(self, node: ast.Pass) -> None:
        pass

    def _Import(self, node: Any) -> None:
        pass

    _ImportFrom = _Import

    def _Raise(self, node: ast.Raise) -> None:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        self.write("(raise")
        name = dotted(error)
        if name is not None and (name.rpartition(".")[2][:1].isupper() or not isinstance(node.exc, ast.Call)):
            self.node(error)
        self.write(")")

    def _Assert(self, node: ast.Assert) -> None:
        self.write("(assert")
        self.node(node.test)
        self.write(")")

    def _AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign([node.target], node.value)

    def _Assign(self, node: ast.Assign) -> None:
        self._assign(node.targets, node.value)

    def _assign(self, targets: list[ast.expr], value: ast.expr) -> None:
        self.write("(=")
        for target in targets:
            self.node(target)
        self.node(value)
        self.write(")")

    def _Call(self, node: ast.Call) -> None:
        target = self.target(node.func)
        remark = target.startswith(REMARKS)
        texts = _TEXTS if target.startswith("pydantic") else ()
        self.write("(remark" if remark else "(call")
        if not remark:
            self.node(node.func)
        self.node([one for one in node.args if not (remark and is_string(one))])
        for word in sorted((word for word in node.keywords if word.arg not in texts), key=lambda word: word.arg or ""):
            self.write(f"{word.arg}=")
            self.node(word.value)
        self.write(")")

    def _Subscript(self, node: ast.Subscript) -> None:
        self.write("([")
        self.node(node.value)
        # What a Literal lists decides only what is refused.
        if self.target(node.value) != "typing.Literal":
            self.node(node.slice)
        self.write("])")

    def target(self, node: ast.expr) -> str:
        """The full dotted name of an expression from outside; empty for any other."""
        name = self.outside(node) or ""
        if name.startswith("="):
            return name[1:]
        first, dot, rest = name.partition(".")
        return self.imports.get(first, first) + dot + rest

    # --- scopes ------------------------------------------------------------------------------------------------

    def scope(self, names: list[str], written: dict[str, str]) -> dict[str, str]:
        """What the names that a function binds are written as: parameters as they are, local variables numbered."""
        for name in names:
            if name not in written:
                self.count += 1
                written[name] = f"local{self.count}"
        return written

    def _FunctionDef(self, node: Any) -> None:
        self.definition(node, self.local(node.name) or node.name)

    _AsyncFunctionDef = _ClassDef = _FunctionDef

    def definition(self, node: Any, name: str) -> None:
        """A function or class called `name`."""
        self.node(node.decorator_list)
        if isinstance(node, ast.ClassDef):
            self._class(node, name)
        else:
            self.write(f"({type(node).__name__} {name}")
            self.function(node.args, node.body)
            self.write(")")

    def function(self, arguments: ast.arguments, body: list[Any], named: bool = True) -> None:
        """Parameters with their defaults, and a body in a scope of its own."""
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        self.node(arguments.defaults)
        self.node([default for default in arguments.kw_defaults])
        self.write(f"{len(arguments.posonlyargs)}/{len(arguments.args)}/{len(arguments.kwonlyargs)}")
        self.write(*("d" if default is not None else "-" for default in arguments.kw_defaults))
        starred = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
        self.write("*" * bool(arguments.vararg) + "+" * bool(arguments.kwarg))
        parameters = [one.arg for one in [*every, *starred]]
        bound, imports, outer = bindings(body)
        written = {name: name for name in parameters} if named else {}
        written = self.scope([*parameters, *(name for name in bound if name not in outer)], written)
        if named:
            self.write(*parameters)
        # A method does not see the names of its class.
        hidden = [scope for scope in self.scopes if "<class>" not in scope]
        before, self.scopes = self.scopes, [*hidden, {k: v for k, v in written.items() if k not in imports}]
        self.inner.append(imports)
        self.node(body)
        self.inner.pop()
        self.scopes = before

    def _Lambda(self, node: ast.Lambda) -> None:
        self.write("(lambda")
        self.function(node.args, [node.body], named=False)
        self.write(")")

    def _class(self, node: ast.ClassDef, name: str) -> None:
        self.write(f"(class {name}")
        self.node(node.bases)
        self.node(node.keywords)
        bound, imports, _ = bindings(node.body)
        methods = {} if self.scopes else self.result.methods
        self.scopes.append({one: one for one in bound if one not in imports} | {"<class>": ""})
        self.inner.append(imports)
        for statement in node.body:
            if isinstance(statement, ast.AnnAssign):
                self.write("(field")
                self.node(statement.target)
                self.write("=" if statement.value is not None else "")
                self.node(statement.value)
                self.write(")")
                self.hint(statement)
            elif len(self.scopes) == 1 and _is_method(statement):
                methods[statement.name] = self.aside([statement])
            else:
                self.node(statement)
        self.inner.pop()
        self.scopes.pop()
        self.write(")")
        self.result.bases += filter(None, map(dotted, node.bases))
        calls = [one.func if isinstance(one, ast.Call) else one for one in node.decorator_list]
        self.result.decorators += filter(None, map(dotted, calls))

    def hint(self, statement: ast.AnnAssign) -> None:
        """Keep the annotation of a field apart; it counts in classes of pydantic."""
        hint = self.aside([statement.target, statement.annotation])
        if any(name.rpartition(".")[2] in ("ClassVar", "InitVar") for name in hint.names):
            self.write("(no field)")
        before = self.result.hints or Form()
        self.result.hints = Form(before.text + hint.text, before.names + hint.names)

    def _comprehension(self, node: Any) -> None:
        names = [name for part in node.generators for name in target_names(part.target)]
        self.write(f"({type(node).__name__}")
        self.scopes.append(self.scope(names, {}))
        for part in node.generators:
            self.write("for")
            self.node([part.target, part.iter, part.ifs])
        self.node([getattr(node, name) for name in ("elt", "key", "value") if hasattr(node, name)])
        self.scopes.pop()
        self.write(")")

    _ListComp = _SetComp = _DictComp = _GeneratorExp = _comprehension

    def _ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.write("(except")
        self.node(node.type)
        self.node(node.body)
        self.write(")")

    def _MatchAs(self, node: ast.MatchAs) -> None:
        self.write("(as", self.local(node.name or "") or "_")
        self.node(node.pattern)
        self.write(")")


def _is_method(node: ast.stmt) -> bool:
    """Whether a statement of a class defines what runs only when its name is read."""
    return (
        isinstance(node, ast.FunctionDef)
        and not node.name.startswith(("_", "model_"))
        and {dotted(one) for one in node.decorator_list}
        <= {"property", "cached_property", "classmethod", "staticmethod"}
    )
