"""What a module of source is read into: forms of its definitions, entries of its tables, its imports."""

from dataclasses import dataclass, field
from typing import Any

PACKAGE = "workflow_scripts"
MAIN, EFFECTS = "__main__", "__effects__"
"""Names of what a module does as a program, and of what its import does."""
GAP = "\0"
CAUGHT = "!"
"""Marks a name that stands where errors are caught and not raised again: there, what is checked can change a result."""


@dataclass
class Form:
    """What a piece of source says.

    Attributes:
        text: the piece with a gap for each name that is defined outside.
        names: the dotted names in the gaps, as the source has them (imports inside functions filled in); with CAUGHT
            before those that stand where errors are caught.
        attributes: attributes that are read, and strings that could name some.
        hints: the form of what only pydantic reads: annotations in the body of a class.
        checks: the form of statements that only check, which count where errors are caught.
        methods: of a class, those with a public name and no decorator but of the language; not in `text`.
        bases: names of a class's bases.
        decorators: names of a class's decorators.
    """

    text: str = ""
    names: list[str] = field(default_factory=list)
    attributes: list[str] = field(default_factory=list)
    hints: "Form | None" = None
    checks: "Form | None" = None
    methods: dict[str, "Form"] = field(default_factory=dict)
    bases: list[str] = field(default_factory=list)
    decorators: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Form":
        """The form that `dataclasses.asdict` made these values of."""
        parts = {name: cls.of(values[name]) if values[name] else None for name in ("hints", "checks")}
        return cls(**values | parts | {"methods": {name: cls.of(one) for name, one in values["methods"].items()}})


@dataclass
class Entry:
    """One entry of a table, or a constant that is a call.

    Attributes:
        key: of the entry.
        form: the call without its keywords, or the whole entry if it is no call.
        fields: the keywords by name. Those of a dataclass count only where something reads the attribute.
    """

    key: str
    form: Form
    fields: dict[str, Form] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Entry":
        """The entry that `dataclasses.asdict` made these values of."""
        return cls(
            values["key"], Form.of(values["form"]), {word: Form.of(one) for word, one in values["fields"].items()}
        )


@dataclass
class Source:
    """A module.

    Attributes:
        definitions: by name, tables and records included.
        tables: their entries.
        records: constants that are one call, such as an instance of a dataclass.
        imports: what imported names mean.
        constants: values of constants that are texts.
    """

    definitions: dict[str, Form] = field(default_factory=dict)
    tables: dict[str, list[Entry]] = field(default_factory=dict)
    records: dict[str, Entry] = field(default_factory=dict)
    imports: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Source":
        """The source that `dataclasses.asdict` made these values of."""
        return cls(
            definitions={name: Form.of(one) for name, one in values["definitions"].items()},
            tables={name: [Entry.of(one) for one in entries] for name, entries in values["tables"].items()},
            records={name: Entry.of(one) for name, one in values["records"].items()},
            imports=values["imports"],
            constants=values["constants"],
        )
