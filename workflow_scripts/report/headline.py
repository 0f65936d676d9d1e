"""The numbers a reader looks for first, one column per model, each with its interval, null or n beside it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.measures.cka import questions_needed
from workflow_scripts.measures.labels import label
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.report.numbers import NOTHING, fixed, with_interval

FORMS = ("text", "speech", "asr")


@dataclass(frozen=True)
class Tables:
    """Rows of one model: gap.csv of its first and last checkpoint, the last one's decline.csv and checkpoints.csv."""

    first: pd.DataFrame
    last: pd.DataFrame
    decline: pd.DataFrame
    alignment: pd.DataFrame


@dataclass(frozen=True)
class Headline:
    """One line: a quantity, how to read it, the anchor with its details, and one text per model."""

    name: str
    note: str
    anchor: str
    values: list[str]


Line = tuple[str, str, str, Callable[[Tables], str]]
"""Name, note, anchor, and the text of a model; an empty text where nothing was measured."""


def headlines(
    models: Sequence[str], gap: pd.DataFrame, decline: pd.DataFrame, checkpoints: pd.DataFrame
) -> list[Headline]:
    """Lines of the headline table; every number is of the last checkpoint unless the line says otherwise."""
    tuned = gap[gap["checkpoint"] != "base"]
    first = tuned[tuned["checkpoint"] == tuned.groupby("model")["checkpoint"].transform("min")]
    tables = first, *map(last_checkpoints, (tuned, decline, select(checkpoints, subset="all")))
    found = [Tables(*(select(table, model=model) for table in tables)) for model in models]
    return [
        Headline(name, note, anchor, [text(of_model) or NOTHING for of_model in found])
        for name, note, anchor, text in LINES
    ]


def _row(rows: pd.DataFrame, **equal: str) -> pd.Series | None:
    """The row with these values; None if there is none, or it holds no value."""
    found = select(rows, **equal).dropna(subset="value")
    return found.iloc[0] if len(found) else None


def _with_n(row: pd.Series | None, digits: int = 1) -> str:
    return "" if row is None else f"{with_interval(row.value, row.low, row.high, digits)}, n = {fixed(row.n, 0)}"


def _gap(subset: str, measure: str = "score", digits: int = 1) -> Callable[[Tables], str]:
    return lambda tables: _with_n(_row(tables.last, subset=subset, form="gap", measure=measure), digits)


def _by_form(measure: str, scale: float = 1.0, unit: str = "") -> Callable[[Tables], str]:
    def text(tables: Tables) -> str:
        rows = [_row(tables.last, subset="overall", form=form, measure=measure) for form in FORMS]
        numbers = " / ".join(NOTHING if row is None else fixed(scale * row.value, 1) for row in rows)
        return numbers + unit if any(row is not None for row in rows) else ""

    return text


def _first_gap(tables: Tables) -> str:
    row = _row(tables.first, subset="overall", form="gap", measure="score")
    # A public model has no training steps.
    return "" if row is None or pd.isna(row.step) else with_interval(row.value, row.low, row.high)


def _erosion(tables: Tables) -> str:
    return _with_n(_row(tables.decline, subset="overall", measure="erosion"))


def _repeat(tables: Tables) -> str:
    first, last = (_row(rows, form="speech", measure="word_error_rate") for rows in (tables.first, tables.last))
    written = _row(tables.last, form="text", measure="word_error_rate")
    if first is None or last is None:
        return ""
    change = "" if pd.isna(last.step) else f"{fixed(first.value, 1)} \N{RIGHTWARDS ARROW} "
    floor = NOTHING if written is None else fixed(written.value, 1)
    return f"{change}{fixed(last.value, 1)} % (written: {floor} %), n = {fixed(last.n, 0)}"


def _of_states(measure: str, anchor: str, note: str = "") -> Line:
    """A measure of states beside its null."""

    def text(tables: Tables) -> str:
        row = _row(tables.alignment, measure=measure)
        return "" if row is None else f"{fixed(row.value)} (null {fixed(row.null)})"

    name, note = label(measure), note or ("" if MEASURES[measure].higher_is_better else "a distance: smaller is closer")
    return name[0].upper() + name[1:], f"{note}; beside its null" if note else "beside its null", anchor, text


def _cka(tables: Tables) -> str:
    cka, neighbours = (_row(tables.alignment, measure=name) for name in ("cka", "mutual_knn"))
    if cka is None:
        return ""
    text = f"{fixed(cka.value)} (null {fixed(cka.null)}), n = {fixed(cka.n, 0)}"
    if pd.notna(cka.tau):
        text += f" (0.1 needs {fixed(questions_needed(cka.tau, cka.n), 0)})"
    if neighbours is not None and (cka.p <= 0.05) != (neighbours.p <= 0.05):
        text += "; mutual kNN disagrees"
    return text


LINES: tuple[Line, ...] = (
    (
        "GAP, Overall",
        "points by which written questions score higher than spoken ones; 95 % interval. Near 0 also where both fail",
        "table2_gap",
        _gap("overall"),
    ),
    ("Scores, Overall", "text / speech / ASR text, 0-100, mean over subsets", "table2_gap", _by_form("score")),
    ("GAP, first checkpoint", "before training where its step is 0", "table2_gap", _first_gap),
    (
        "Fall of the GAP",
        "points since the first trained checkpoint, paired; 95 % interval. Holds for this run",
        "table2_gap",
        _gap("overall", "score_fall"),
    ),
    ("GAP, knowledge subsets", "points; 95 % interval", "figure-decline", _gap("knowledge")),
    (
        "Loss gap",
        "nats per token by which the reference answer is less likely after speech; 95 % interval. Needs no parser",
        "figure-aps_gap",
        _gap("overall", "loss", 2),
    ),
    (
        "Letter-margin gap",
        "nats by which speech lowers the lead of the right option",
        "multiple_choice",
        _gap("overall", "letter_margin", 2),
    ),
    (
        "Erosion",
        "points of the text score lost by tuning; 95 % interval. A small gap may come from a large erosion",
        "figure-decline",
        _erosion,
    ),
    (
        "Unparsed answers",
        "text / speech / ASR text; counted as wrong",
        "table2_gap",
        _by_form("unparsed", 100.0, " %"),
    ),
    (
        "WER of repeating",
        "first to last checkpoint, asked aloud; an empty answer has 100 %",
        "figure-learning",
        _repeat,
    ),
    _of_states("mutual_knn", "local_and_global", "neighbours in common; go by it where CKA says otherwise"),
    _of_states("retrieval", "local_and_global", "own text found first"),
    ("CKA", "beside its null, and the questions at which 0.1 would stand above chance", "local_and_global", _cka),
    _of_states(
        "cosine", "figure-layers", "no alignment where equal to the null, speech against another question's text"
    ),
    _of_states("path_score_cosine", "table9_alignment", "mean along the alignment path"),
    _of_states("path_score_euclidean", "figure-aps_gap"),
    _of_states("monotonicity_cosine", "figure-monotonicity", "1: the path runs forward, 0: no order"),
    _of_states("monotonicity_euclidean", "figure-monotonicity"),
    _of_states("consistency", "figure-monotonicity"),
)
