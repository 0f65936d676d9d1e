"""What can come of a fault, and the table of how often it did."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import harness

OUTCOMES = ("named", "harmless", "taken", "unclear", "silent", "traceback")
"""What became of a fault.

named: an error that says which file or key it is. harmless: the same results, bit for bit, or a value that is valid.
taken: a whole file of the right kind that no note speaks of, as one that was brought from elsewhere. unclear: an error
that does not say where. silent: other results and no word. traceback: an error nobody foresaw, or a crash.
"""
BAD = ("unclear", "silent", "traceback")
UNFORESEEN = ("TypeError", "KeyError", "IndexError", "AttributeError", "AssertionError", "NameError", "RecursionError")
"""Python's words for a mistake in the program, not in its input; SIG... (a crash) counts with them."""


@dataclass(frozen=True)
class Fault:
    """One fault that was tried.

    Attributes:
        part: config, files, kills or disk.
        kind: the config or the kind of file, for the table's rows.
        what: where and how, enough to do it again.
        outcome: of OUTCOMES.
        message: the error's words.
    """

    part: str
    kind: str
    what: str
    outcome: str
    message: str = ""


def outcome_of_error(message: str, names: Iterable[str]) -> str:
    """Outcome of an error with this message, which should hold one of `names` as it is written there."""
    if message.split(":", 1)[0].strip() in UNFORESEEN or message.startswith(("SIG", "Traceback")):
        return "traceback"
    return "named" if any(name and name in message for name in names) else "unclear"


def holds_word(message: str, word: str) -> bool:
    """Whether a word stands in a message, not inside another."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", message) is not None


def show(faults: Sequence[Fault], path: Path | None = None) -> int:
    """Print table and bad cases; write all as JSON lines; gives the exit status, 1 if one is bad."""
    kinds = list(dict.fromkeys((fault.part, fault.kind) for fault in faults))
    counts = Counter((fault.part, fault.kind, fault.outcome) for fault in faults)
    rows = [
        [*kind, sum(counts[*kind, one] for one in OUTCOMES), *(counts[*kind, one] for one in OUTCOMES)]
        for kind in kinds
    ]
    total = [sum(row[column] for row in rows) for column in range(2, 3 + len(OUTCOMES))]
    print(harness.table(("part", "kind", "tried", *OUTCOMES), [*rows, ["all", "", *total]]))
    bad = [fault for fault in faults if fault.outcome in BAD]
    for fault in bad[:60]:
        print(f"{fault.outcome}: {fault.kind}, {fault.what}: {fault.message[:300]}")
    if path is not None:
        path.write_text("".join(json.dumps(asdict(fault), ensure_ascii=False) + "\n" for fault in faults), "utf-8")
    return 1 if bad else 0
