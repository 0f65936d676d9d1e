"""Which candidate questions can be asked in both forms, and how many each rule drops."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.artifacts.tables import FILTERS, write_columns
from workflow_scripts.benchmark.candidates import Candidate
from workflow_scripts.benchmark.spoken_text import UnspeakableText, spoken_text
from workflow_scripts.scoring.text_normalisation import normalise_words

WORDS_PER_SECOND = 2.6
"""Reading rate behind the estimate of the speech length; the speech stage measures the real one."""
WINDOW_SECONDS = 28.0
"""Estimated speech above this is dropped before any is made: Whisper's window is 30 s."""
TOO_MANY_WORDS, TOO_LONG, DUPLICATE = "too many words", "longer than the window", "duplicate"
TOO_FEW_WORDS, UNSCORABLE, NOT_DRAWN = "too few words", "cannot be scored", "not in the sample"
_LAYOUT_REASONS = ("unusable row", "long answer", "option of several lines", "options repeat")
_ORDER = (*_LAYOUT_REASONS, TOO_MANY_WORDS, TOO_FEW_WORDS, TOO_LONG)
"""Reasons that are judged before the reading; readings follow."""
_LAST = (DUPLICATE, "in ", UNSCORABLE, NOT_DRAWN)
"""Beginnings of the reasons that are judged after the reading."""


@dataclass(frozen=True)
class Speakable:
    """A candidate that passed all filters, with what the voice reads."""

    candidate: Candidate
    spoken: str


class FilterReport:
    """Counts of dropped candidates per reason."""

    def __init__(self) -> None:
        self.total = 0
        self.dropped: Counter[str] = Counter()

    def drop(self, reason: str, count: int = 1) -> None:
        """Count `count` dropped candidates."""
        self.dropped[reason] += count

    def write(self, path: Path) -> None:
        """filters.csv: one row per reason, with the number kept after it; the first row is the raw count."""
        kept = self.total
        rows = [{"filter": "raw rows", "dropped": 0, "kept_after": kept}]
        for reason, count in self._ordered():
            kept -= count
            rows.append({"filter": reason, "dropped": count, "kept_after": kept})
        write_columns(path, rows, FILTERS)

    def summary(self) -> str:
        """One line for messages: `12 too many words, 3 table`."""
        return ", ".join(f"{count} {reason}" for reason, count in self._ordered()) or "none dropped"

    def _ordered(self) -> list[tuple[str, int]]:
        """Reasons in the order in which they are judged; readings that were refused by name."""

        def place(reason: str) -> tuple[int, str]:
            if reason in _ORDER:
                return _ORDER.index(reason), reason
            after = next((number for number, start in enumerate(_LAST, start=1) if reason.startswith(start)), 0)
            return len(_ORDER) + after, reason

        return sorted(self.dropped.items(), key=lambda item: place(item[0]))


def filter_candidates(
    candidates: Iterable[Candidate], report: FilterReport, *, max_words: int, min_words: int = 1
) -> list[Speakable]:
    """Candidates that are short enough, speakable and not repeated, in their order; the rest is counted in `report`.

    A candidate is dropped for its first reason of: the layout's own (e.g. a long answer), word counts (whitespace words
    of the prompt), estimated seconds, no agreed reading, a normalised prompt seen before.
    """
    kept: list[Speakable] = []
    reasons: list[str] = []
    seen: set[str] = set()
    for candidate in candidates:
        report.total += 1
        reason, spoken = _judge(candidate, min_words, max_words)
        key = normalise_words(candidate.prompt)
        if not reason and key in seen and candidate.audio is None:
            reason = DUPLICATE
        if reason:
            reasons.append(reason)
            continue
        seen.add(key)
        kept.append(Speakable(candidate, spoken))
    for reason, count in Counter(reasons).items():
        report.drop(reason, count)
    return kept


def _judge(candidate: Candidate, min_words: int, max_words: int) -> tuple[str, str]:
    """(reason or "", spoken text)."""
    n_words = len(candidate.prompt.split())
    if candidate.reason:
        return candidate.reason, ""
    if candidate.audio is not None:  # spoken already: the speech stage judges the recording itself
        return "", candidate.prompt
    if n_words > max_words:
        return TOO_MANY_WORDS, ""
    if n_words < min_words:
        return TOO_FEW_WORDS, ""
    try:
        spoken = candidate.spoken or spoken_text(candidate.prompt)
    except UnspeakableText as refused:
        return str(refused), ""
    if len(spoken.split()) / WORDS_PER_SECOND > WINDOW_SECONDS:
        return TOO_LONG, ""
    return "", spoken
