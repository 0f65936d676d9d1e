"""The numbers a reader looks for first, one column per model, each with its interval, null or n beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.report.html_tables import NOTHING, fixed, with_interval

Row = Mapping[str, Any]


@dataclass(frozen=True)
class ModelRows:
    """What the tables say about one model; a row is None where a table has none.

    Attributes:
        first, last: Overall rows of gap.csv of the first and the last checkpoint.
        knowledge: the knowledge row of the last checkpoint.
        decline: Overall row of decline.csv of the last checkpoint.
        alignment: row of checkpoints.csv of the last checkpoint, all subsets.
        first_repeat, last_repeat: gap.csv rows of the subset whose scorer is a word error rate.
    """

    first: Row | None
    last: Row | None
    knowledge: Row | None
    decline: Row | None
    alignment: Row | None
    first_repeat: Row | None
    last_repeat: Row | None


@dataclass(frozen=True)
class Headline:
    """One line: a quantity, how to read it, the anchor with its details, and one text per model."""

    name: str
    note: str
    anchor: str
    values: list[str]


def rows_of_model(model: str, gap: Sequence[Row], decline: Sequence[Row], checkpoints: Sequence[Row]) -> ModelRows:
    """The rows of one model."""
    own = _ordered(row for row in gap if row["model"] == model and row["checkpoint"] != "base")
    overall = [row for row in own if row["subset"] == "overall"]
    repeat = [row for row in own if row.get("wer_speech") is not None]
    return ModelRows(
        first=_first(overall),
        last=_last(overall),
        knowledge=_last([row for row in own if row["subset"] == "knowledge"]),
        decline=_last(_ordered(row for row in decline if row["model"] == model and row["subset"] == "overall")),
        alignment=_last(_ordered(row for row in checkpoints if row["model"] == model and row["subset"] == "all")),
        first_repeat=_first(repeat),
        last_repeat=_last(repeat),
    )


def headlines(
    models: Sequence[str], gap: Sequence[Row], decline: Sequence[Row], checkpoints: Sequence[Row]
) -> list[Headline]:
    """Lines of the headline table; every number is of the last checkpoint unless the line says otherwise."""
    found = [rows_of_model(model, gap, decline, checkpoints) for model in models]
    return [
        Headline(name, note, anchor, [reading(rows) or NOTHING for rows in found])
        for name, note, anchor, reading in _LINES
    ]


def _counted(row: Row | None, column: str, digits: int = 1, n: str = "n") -> str:
    """The column with its interval and the number of its questions; nothing without a value."""
    if not row or row.get(column) is None:
        return ""
    return f"{with_interval(row, column, digits)}, n = {fixed(row.get(n), 0)}"


def _gap(rows: ModelRows) -> str:
    return _counted(rows.last, "gap")


def _scores(rows: ModelRows) -> str:
    return " / ".join(fixed(rows.last[form], 1) for form in ("text", "speech", "asr")) if rows.last else ""


def _first_gap(rows: ModelRows) -> str:
    # A public model has no training steps.
    return with_interval(rows.first, "gap") if rows.first and rows.first["step"] is not None else ""


def _knowledge(rows: ModelRows) -> str:
    return _counted(rows.knowledge, "gap")


def _loss_gap(rows: ModelRows) -> str:
    return _counted(rows.last, "loss_gap", 2, n="n_loss")


def _letter_gap(rows: ModelRows) -> str:
    return _counted(rows.last, "letter_margin_gap", 2, n="n_options")


def _erosion(rows: ModelRows) -> str:
    return _counted(rows.decline, "erosion")


def _unparsed(rows: ModelRows) -> str:
    if not rows.last:
        return ""
    shares = (rows.last.get(f"unparsed_{form}") for form in ("text", "speech", "asr"))
    return " / ".join(fixed(None if share is None else 100.0 * share, 1) for share in shares) + " %"


def _repeat(rows: ModelRows) -> str:
    if not rows.first_repeat or not rows.last_repeat:
        return ""
    first, last = (fixed(row["wer_speech"], 1) for row in (rows.first_repeat, rows.last_repeat))
    floor, n = fixed(rows.last_repeat["wer_text"], 1), fixed(rows.last_repeat["n"], 0)
    change = last if rows.last_repeat["step"] is None else f"{first} \N{RIGHTWARDS ARROW} {last}"
    return f"{change} % (written: {floor} %), n = {n}"


def _beside_null(column: str, digits: int = 2) -> Callable[[ModelRows], str]:
    def reading(rows: ModelRows) -> str:
        if not rows.alignment or rows.alignment.get(column) is None:
            return ""
        value, null = (fixed(rows.alignment.get(name), digits) for name in (column, f"{column}_null"))
        return f"{value} (null {null})"

    return reading


_LINES: tuple[tuple[str, str, str, Callable[[ModelRows], str]], ...] = (
    (
        "GAP, Overall",
        "points by which written questions score higher than spoken ones; 95 % interval. Near 0 also where both fail",
        "table2_gap",
        _gap,
    ),
    ("Scores, Overall", "text / speech / ASR text, 0-100, mean over subsets", "table2_gap", _scores),
    ("GAP before training", "the first checkpoint", "table2_gap", _first_gap),
    ("GAP, knowledge subsets", "points; 95 % interval", "figure-decline", _knowledge),
    (
        "Loss gap",
        "nats per token by which the reference answer is less likely after speech; 95 % interval. Needs no parser",
        "figure-aps_gap",
        _loss_gap,
    ),
    ("Letter-margin gap", "nats by which speech lowers the lead of the right option", "multiple_choice", _letter_gap),
    (
        "Erosion",
        "points of the text score lost by tuning; 95 % interval. A small gap may be bought with it",
        "figure-decline",
        _erosion,
    ),
    ("Unparsed answers", "text / speech / ASR text; counted as wrong", "table2_gap", _unparsed),
    (
        "WER of repeating",
        "first to last checkpoint, asked aloud; 100 % is what silence gets",
        "figure-learning",
        _repeat,
    ),
    (
        "Similarity, cosine",
        "beside the null, speech against the text of another question: equal numbers mean no alignment",
        "figure-layers",
        _beside_null("sim_cosine"),
    ),
    ("APS, cosine", "mean along the alignment path, beside the null", "table9_alignment", _beside_null("aps_cosine")),
    ("APS, Euclid", "a distance: smaller is closer; beside the null", "figure-aps_gap", _beside_null("aps_euclidean")),
    (
        "Monotonicity, cosine",
        "does the path run forward (1) or anyhow (0); beside the null",
        "figure-monotonicity",
        _beside_null("monotonicity_cosine"),
    ),
    ("Monotonicity, Euclid", "beside the null", "figure-monotonicity", _beside_null("monotonicity_euclidean")),
    (
        "Consistency",
        "share of tokens where cosine and Euclid agree; beside the null",
        "figure-monotonicity",
        _beside_null("consistency"),
    ),
)


def _ordered(rows: Any) -> list[Row]:
    return sorted(rows, key=lambda row: -1 if row["step"] is None else row["step"])


def _first(rows: Sequence[Row]) -> Row | None:
    return rows[0] if rows else None


def _last(rows: Sequence[Row]) -> Row | None:
    return rows[-1] if rows else None
