"""Which definitions decide the numbers of a step, and their digest.

From the `__main__` block of a step's script, names are followed to the definitions that they mean: through imports and
re-exports, into the functions that these use, and so on. The digest is over what is reached. So a change of any of it
changes the digest, and nothing else does: a name counts by what it stands for, not by how it is written or where that
lies. Of a table (`definitions.Source.tables`) a step can name the entries that it uses.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from workflow_scripts.planning.forms import CAUGHT, EFFECTS, GAP, MAIN, PACKAGE, Entry, Form
from workflow_scripts.planning.sources import Sources, hashed

BY_TEXT = {f"{PACKAGE}.artifacts.tables:TABLES"}
"""Tables whose entries a step asks for by texts in its code: those entries count whose key is such a text."""
ROUNDS = 2
"""How many uses deep the hash of a definition looks; the digest is over the hashes of all that are reached."""

WHOLE = {"dataclasses.asdict", "dataclasses.astuple", "dataclasses.fields", "vars"}
"""Functions that read all fields of an instance."""

Keys = Mapping[str, Iterable[str]]
"""Names of tables, each with the keys of the entries that a job uses."""


class CodeError(ValueError):
    """A script, table or entry is not in the sources."""


@dataclass(frozen=True)
class Node:
    """A definition or a part of a table.

    Attributes:
        text: what it says, with gaps for the names of others.
        uses: what fills the gaps: the name of a node (None: nothing of ours) and the rest, as written.
        attributes: attributes that it reads.
        fields, methods: nodes that count only if something reads the attribute of that name; fields also if something
            reads all fields of instances.
        checks: what counts besides where a caller catches errors.
    """

    text: str
    uses: tuple[tuple[str | None, str], ...] = ()
    attributes: frozenset[str] = frozenset()
    fields: Mapping[str, str] = field(default_factory=dict)
    methods: Mapping[str, str] = field(default_factory=dict)
    checks: "Node | None" = None

    @cached_property
    def reads_all(self) -> bool:
        """Whether it reads all fields of an instance."""
        return any(used is None and rest in WHOLE for used, rest in self.uses)

    @property
    def caught(self) -> "Node":
        """The same below a caller that catches errors: its checks count, and those of all that it uses."""
        every = [self] if self.checks is None else [self, self.checks]
        return Node(
            "".join(node.text for node in every),
            tuple((used and used.removesuffix(CAUGHT) + CAUGHT, rest) for node in every for used, rest in node.uses),
            frozenset().union(*(node.attributes for node in every)),
            {word: part + CAUGHT for word, part in self.fields.items()},
            {word: part + CAUGHT for word, part in self.methods.items()},
        )


class Step:
    """What a step depends on.

    Args:
        reach: gives all nodes by name; called when they are needed.
        digest: 16 hex digits, where they are known already.
    """

    def __init__(self, reach: Callable[[], Mapping[str, Node]], digest: str | None = None):
        self._reach = reach
        self.digest = digest or hashed(*sorted(self._meanings.values()))

    @cached_property
    def _nodes(self) -> Mapping[str, Node]:
        return self._reach()

    @cached_property
    def _meanings(self) -> dict[str, str]:
        meanings = {name: node.text for name, node in self._nodes.items()}
        for _ in range(ROUNDS):
            known = meanings
            meanings = {
                name: hashed(node.text, *[known.get(used, "") + rest for used, rest in node.uses])
                for name, node in self._nodes.items()
            }
        return meanings

    @property
    def definitions(self) -> dict[str, tuple[str, str]]:
        """By name, two hashes: of what a definition means (names replaced by meanings) and of what it says."""
        return {
            name: (self._meanings[name], hashed(node.text, *(f"{used}{rest}" for used, rest in node.uses)))
            for name, node in sorted(self._nodes.items())
        }


class Code:
    """What the steps of a package depend on, by its sources."""

    def __init__(self, sources: Sources):
        self.sources = sources
        self._nodes: dict[str, Node] = {}
        self._steps: dict[tuple, Step] = {}

    def step(self, script: str, keys: Keys | None = None, functions: Iterable[str] = ()) -> Step:
        """What a script depends on.

        Args:
            script: its path in the package.
            keys: of the tables named there, only these entries are used.
            functions: `module:function` that the script is told to call, the module beside it or in the package.

        Raises:
            CodeError: there is no such script or function, or the script reaches no table of that name.
        """
        chosen = {table: tuple(sorted(set(names))) for table, names in (keys or {}).items()}
        key = (script, *sorted(chosen.items()), *sorted(functions))
        if key not in self._steps:
            digests, name = self.sources.digests, repr(key)
            known = digests.values.get(name)
            self._steps[key] = Step(lambda: self._of(script, chosen, sorted(functions)), known)
            if known is None:
                digests.write(digests.values | {name: self._steps[key].digest})
        return self._steps[key]

    def _of(self, script: str, keys: dict[str, tuple[str, ...]], functions: list[str]) -> dict[str, Node]:
        module = f"{PACKAGE}.{script.removesuffix('.py').replace('/', '.')}"
        source = self.sources.get(module)
        if source is None or MAIN not in source.definitions:
            raise CodeError(f'{PACKAGE}/{script}: no such file, or it has no `if __name__ == "__main__":`')
        called = [self._absolute(module, function)[0] for function in functions]
        if None in called:
            raise CodeError(f"{PACKAGE}/{script} is told to call {functions[called.index(None)]}, which is not there")
        return self._reach([f"{module}:{MAIN}", *called], keys)

    def keys_with(self, module: str, table: str, word: str, values: Iterable[str]) -> list[str]:
        """Keys of the entries of a table whose argument `word` is one of some texts.

        Raises:
            CodeError: there is none.
        """
        wanted = {f"{value!r} " for value in values}
        entries = self._entries(f"{PACKAGE}.{module}", table)
        found = [key for key, entry in entries.items() if word in entry.fields and entry.fields[word].text in wanted]
        if not found:
            raise CodeError(f"{PACKAGE}.{module}: no entry of {table} has one of {sorted(wanted)} as {word}")
        return found

    def _reach(self, start: list[str], keys: dict[str, tuple[str, ...]]) -> dict[str, Node]:
        """All that some nodes use, directly or not."""
        reached: dict[str, Node] = {}
        fields, methods = defaultdict(list), defaultdict(list)
        read: set[str] = set()
        everything = False
        waiting, unused = list(start), {*keys}
        while waiting:
            name = waiting.pop()
            if name in reached:
                continue
            plain = name.removesuffix(CAUGHT)
            table = plain.partition(":")[2]
            unused.discard(table)
            node = self._chosen(plain, keys[table]) if table in keys else self._node(plain)
            reached[name] = node = node if name == plain else node.caught
            read |= node.attributes
            everything |= node.reads_all
            waiting += [used for used, _ in node.uses if used is not None]
            for parts, added in ((fields, node.fields), (methods, node.methods)):
                for word, part in added.items():
                    parts[word].append(part)
            for word in list(fields) if everything else fields.keys() & read:
                waiting += fields.pop(word)
            for word in methods.keys() & read:
                waiting += methods.pop(word)
        if unused:
            raise CodeError(f"{start[0]} uses no table {min(unused)}; correct the params of its rule")
        return reached

    # --- nodes: module:definition, module:TABLE[key], module:TABLE[key].field, module: for all of a module; with CAUGHT
    # at the end where a caller catches errors, so that checks count

    def _chosen(self, name: str, chosen: tuple[str, ...]) -> Node:
        """A table of which only some entries are used."""
        entries = self._entries(*name.split(":"))
        if not entries:
            raise CodeError(f"{name} is no table of named entries; correct the params of the rule that names some")
        return Node("table", tuple((f"{name}[{key}]", "") for key in chosen if key in entries))

    def _entries(self, module: str, table: str) -> dict[str, Entry]:
        source = self.sources.get(module)
        return {self._key(module, entry.key): entry for entry in (source.tables.get(table, ()) if source else ())}

    def _key(self, module: str, key: str) -> str:
        """The key of an entry; the value of the constant, where it is one that is defined elsewhere."""
        if not key.startswith(GAP):
            return key
        name, _ = self._resolve(module, key.removeprefix(GAP))
        source = self.sources.get((name or "").partition(":")[0])
        return source.constants.get(name.partition(":")[2], key) if source and name else key

    def _node(self, name: str) -> Node:
        if name not in self._nodes:
            self._nodes[name] = self._made(name)
        return self._nodes[name]

    def _made(self, name: str) -> Node:
        module, _, definition = name.partition(":")
        source = self.sources.get(module)
        assert source is not None
        table, bracket, key = definition.partition("[")
        if not definition:
            return Node("module", tuple((f"{module}:{one}", "") for one in source.definitions if one != MAIN))
        if bracket:
            key, _, word = key.rpartition("]")
            return self._part(name, self._entries(module, table)[key], key, word[1:])
        entries = self._entries(module, definition)
        if name in BY_TEXT and entries:
            return Node("table", fields={key: f"{name}[{key}]" for key in entries})
        if entries and all(self._makes_dataclass(self._filled(module, one.form)) for one in entries.values()):
            # All entries count, in their order, but of each only the fields that are read.
            return Node(f"table {' '.join(entries)}", tuple((f"{name}[{key}]", "") for key in entries))
        first, _, word = definition.partition(".")
        if first in source.records:
            return self._part(name, source.records[first], "", word)
        if word:
            return self._filled(module, source.definitions[first].methods[word], f".{word} ")
        return self._class(name, module, source.definitions[first])

    def _class(self, name: str, module: str, form: Form) -> Node:
        """A class, or any other definition. Of settings, methods count only where something reads their name.

        Not so for other classes: their methods can be called by the library that they are handed to.
        """
        node = self._filled(module, form)
        if any(self._is_model(module, base) for base in form.bases):
            parts = [self._filled(module, form.hints)] if form.hints is not None else []
            return replace(_joined([node, *parts]), methods={one: f"{name}.{one}" for one in form.methods})
        return _joined([node, *(self._filled(module, method, f".{one} ") for one, method in form.methods.items())])

    def _part(self, name: str, entry: Entry, key: str, word: str) -> Node:
        """An entry of a table or a constant that is a call; or, if `word` is given, that argument of the call."""
        module = name.partition(":")[0]
        if word:
            return self._filled(module, entry.fields[word], f"{key}.{word} ")
        node = self._filled(module, entry.form, f"{key} ")
        fields = {one: f"{name}.{one}" for one in entry.fields}
        if self._makes_dataclass(node):
            return replace(node, fields=fields)
        return replace(node, uses=(*node.uses, *((part, "") for part in fields.values())))

    def _makes_dataclass(self, node: Node) -> bool:
        """Whether a call (the first name in it) makes an instance of a dataclass of ours."""
        module, _, definition = ((node.uses[0][0] if node.uses else None) or "").partition(":")
        source = self.sources.get(module)
        form = source.definitions.get(definition) if source else None
        names = [self._resolve(module, one) for one in form.decorators] if form else []
        return (None, "dataclasses.dataclass") in names

    def _filled(self, module: str, form: Form, prefix: str = "") -> Node:
        """A form with its names resolved; what an import of the module does counts as used."""
        source = self.sources.get(module)
        uses = []
        for name in form.names:
            used, rest = self._resolve(module, name.removeprefix(CAUGHT))
            uses.append((used + CAUGHT if used and name.startswith(CAUGHT) else used, rest))
        if source is not None and EFFECTS in source.definitions:
            uses.append((f"{module}:{EFFECTS}", ""))
        checks = self._filled(module, form.checks) if form.checks is not None else None
        return Node(prefix + form.text, tuple(uses), frozenset(form.attributes), checks=checks)

    def _is_model(self, module: str, base: str) -> bool:
        """Whether a base of a class makes it one of pydantic, which reads annotations."""
        name, rest = self._resolve(module, base)
        if name is None:
            return rest.startswith("pydantic.")
        module, _, definition = name.partition(":")
        source = self.sources.get(module)
        form = source.definitions.get(definition) if source else None
        return form is not None and any(self._is_model(module, one) for one in form.bases if one != definition)

    # --- names -----------------------------------------------------------------------------------------------------

    def _resolve(self, module: str, name: str) -> tuple[str | None, str]:
        """The node that a name in a module means, None for one that is not ours, and what follows of the name."""
        if name.startswith("="):
            return self._absolute(module, name[1:])
        source = self.sources.get(module)
        first, dot, rest = name.partition(".")
        if source is not None and first in source.definitions:
            return f"{module}:{first}", dot + rest
        if source is not None and first in source.imports:
            return self._absolute(module, source.imports[first] + dot + rest)
        return None, name

    def _absolute(self, module: str, name: str) -> tuple[str | None, str]:
        place, colon, definition = name.partition(":")
        if colon:  # a text such as "plot_layers:draw": a module beside this one, or one of the package
            folder = module.rpartition(".")[0]
            for candidate in (place, f"{folder}.{place}", f"{PACKAGE}.{place}"):
                source = self.sources.get(candidate)
                if source is not None and not definition:  # a program
                    return f"{candidate}:{MAIN if MAIN in source.definitions else ''}", ""
                if source is not None and definition in source.definitions:
                    return f"{candidate}:{definition}", ""
            return None, name
        parts = name.split(".")
        if parts[0] != PACKAGE:
            return None, name
        length = next((n for n in range(len(parts), 0, -1) if self.sources.get(".".join(parts[:n])) is not None), 0)
        found, rest = ".".join(parts[:length]), parts[length:]
        source = self.sources.get(found)
        if source is None:
            return None, name
        if not rest:
            return f"{found}:", ""
        if rest[0] in source.definitions:
            return f"{found}:{rest[0]}", "".join(f".{one}" for one in rest[1:])
        if rest[0] in source.imports:
            return self._absolute(found, ".".join([source.imports[rest[0]], *rest[1:]]))
        return None, rest[0]


def _joined(parts: list[Node]) -> Node:
    """Pieces of one definition as one node."""
    checks = [part.checks for part in parts if part.checks is not None]
    return Node(
        "".join(part.text for part in parts),
        tuple(use for part in parts for use in part.uses),
        frozenset().union(*(part.attributes for part in parts)),
        checks=_joined(checks) if checks else None,
    )
