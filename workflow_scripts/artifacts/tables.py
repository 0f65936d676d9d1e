"""CSV tables: what each is made of, one row per number, written atomically and read back with declared types.

`TABLES` specifies every table that stages share. In a table with the columns `measure` and `value` each row is one
number, with its 95 % interval `low` to `high`, its chance level `null` and the number `n` of questions behind it. A
table within one stage declares its columns there (`write_columns`); wide tables are for people only (`write_frame`).

A text column holds text, whatever it looks like: the answer `007`, the model `7`. A missing text is "", a missing
number NaN, `<NA>` among whole numbers and truth values; in the file all are empty cells. Floats have six digits.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from workflow_scripts.artifacts.files import ArtifactError, atomic_path, read_text

TEXT, WHOLE, NUMBER, TRUTH = "str", "Int64", "float64", "boolean"
"""Types of columns, as pandas names them."""
Columns = Mapping[str, str]

_TYPES = {
    TEXT: """model twin checkpoint subset form measure quantity cascade strategy backbone warmup start outcome predictor
        pool first second term verdict note prefix claim rule switch reading edit against kind name operation selection
        metric path control of change id question reference input answer direction positions condition voice tag
        target fitted asked""",
    WHOLE: """step n layer draws best_layer speech_layer text_layer n_checkpoints n_runs position k b c net unedited
        exhausted changed_answers cases window depth skipped n_rest words items
        classes""",
    TRUTH: "with_log_step default swept right decided",
}
"""Types of columns by name; a name has one type in all tables but for those of `_columns`. All others hold floats."""


def _columns(names: str, **types: str) -> Columns:
    known = {name: kind for kind, group in _TYPES.items() for name in group.split()} | types
    return {name: known.get(name, NUMBER) for name in names.split()}


FILTERS = _columns("filter dropped kept_after", filter=TEXT, dropped=WHOLE, kept_after=WHOLE)
TRAINING_LOG = _columns(
    "step split form loss_per_token n_samples n_tokens learning_rate seconds",
    split=TEXT,
    n_samples=WHOLE,
    n_tokens=WHOLE,
)
"""step: optimiser steps done; split: train (since the last row) or heldout; form: speech, text, all, or distill;
loss_per_token: nats per target token, of distill its own loss (KL in nats, or 1 - cosine) without weight, averaged over
a sample's positions and then over spoken samples; learning_rate: the language model's after the step; seconds: of
training so far, all restarts."""
WARMUP_LOG = _columns(
    "epoch step ctc_loss wer n_train n_impossible n_heldout learning_rate seconds",
    **dict.fromkeys(("epoch", "n_train", "n_impossible", "n_heldout"), WHOLE),
)
"""ctc_loss: nats per token over the epoch; wer: of greedy decoding on held-out utterances, 0 to 1 and more."""

TABLES: Mapping[str, Columns] = {
    "filters": FILTERS,
    "training_log": TRAINING_LOG,
    "warmup_log": WARMUP_LOG,
    # evaluation
    "gap": _columns("model checkpoint step subset form measure value low high null n"),
    "decline": _columns("model checkpoint step subset measure value low high n"),
    "cascade": _columns("model checkpoint step subset cascade measure value low high null n"),
    "twins": _columns(
        "model twin checkpoint step subset n n_runs quantity with without change change_low change_high", change=NUMBER
    ),
    "tags": _columns(
        """model checkpoint step subset tag measure n value low high n_rest rest difference difference_low
        difference_high p p_holm"""
    ),
    "floors": _columns("model checkpoint step subset form measure value low high n"),
    "conditions": _columns("model checkpoint step subset condition voice form measure value low high n"),
    # correlation
    "layers": _columns("model checkpoint step subset layer measure value null null_sd calibrated n"),
    "checkpoints": _columns(
        """model checkpoint step subset measure value null null_sd calibrated p tau above_tau n draws
        best_layer best_value best_null best_p best_above_tau"""
    ),
    "cka": _columns("model checkpoint step subset speech_layer text_layer n cka null null_sd p"),
    "points": _columns("model checkpoint step strategy backbone warmup start measure value low high n"),
    "regression": _columns(
        """outcome predictor pool n_checkpoints n_runs slope slope_low slope_high intercept r2 r2_low r2_high p
        partial_r2 q2 r2_runs_low r2_runs_high note"""
    ),
    "comparisons": _columns(
        """outcome first second n_checkpoints n_runs r2_difference r2_difference_low r2_difference_high q2_difference
        note"""
    ),
    "answers_regression": _columns("score with_log_step term coefficient low high p n n_runs verdict note", score=TEXT),
    "responses": _columns(
        """model checkpoint step n kl_forward_reference kl_forward_text kl_forward_speech kl_reverse_reference
        kl_reverse_text kl_reverse_speech kl_forward_p80 kl_forward_p95 kl_forgetting response_cosine
        response_cosine_null response_cosine_first response_cosine_last"""
    ),
    "response_positions": _columns("model checkpoint step measure prefix position n mean p80 p95"),
    "lens": _columns(
        "model checkpoint step layer n recall control difference difference_low difference_high", control=NUMBER
    ),
    "word_reading": _columns(
        "model checkpoint step target layer offset measure value null null_sd p n words skipped note"
    ),
    "claims": _columns(
        "claim outcome measure statistic estimate low high n_runs n_checkpoints n verdict rule note", statistic=TEXT
    ),
    "sensitivity": _columns(
        "score switch reading default value difference r2 r2_difference q2 n_checkpoints n_runs n", score=TEXT
    ),
    # intervention
    "tests": _columns(
        """model checkpoint subset edit against kind name operation weight selection k layer metric path control of
        swept n score score_against b c net difference difference_low difference_high p p_holm detectable
        nll_per_token nll_change nll_change_low nll_change_high kl_first kl_change kl_change_low kl_change_high
        edited_mean shift_mean log_norm_ratio r2_before r2_before_low r2_before_high r2_after r2_after_low r2_after_high
        unedited exhausted changed_answers verdict"""
    ),
    "cases": _columns("model checkpoint subset change cases id question reference input answer right decided"),
    # probes
    "probes": _columns(
        """model checkpoint step target fitted asked layer n items classes accuracy accuracy_low accuracy_high chance
        control selectivity selectivity_low selectivity_high p skipped note""",
        control=NUMBER,
    ),
    # patching
    "patching": _columns(
        """model checkpoint step subset kind direction positions window layer n difference share share_low share_high
        share_clipped other random p p_holm detectable kl base_kl other_kl agrees"""
    ),
    "patching_profiles": _columns(
        """model checkpoint step subset kind direction positions window n depth difference first_half first_low
        first_high reached last_half width mean_share split_half skipped note"""
    ),
    "patching_tags": _columns(
        """model checkpoint step subset kind positions measure tag n value low high n_rest rest difference
        difference_low difference_high p p_holm"""
    ),
    "attention": _columns(
        """model checkpoint step subset kind form positions layer n share share_low share_high uniform highest skipped
        note"""
    ),
    "knockout": _columns(
        """model checkpoint step subset kind form window layer depth n outcome base n_positions n_control draws change
        change_low change_high control difference difference_low difference_high p p_holm detectable skipped note""",
        change=NUMBER,
        control=NUMBER,
    ),
}
"""Columns of every table that stages share, with their types, in order, by the name of the table."""


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table that only people read, its columns as they are; floats with six digits, missing values empty."""
    text = frame.copy()
    for name, column in text.items():
        if pd.api.types.is_bool_dtype(column.dtype):
            text[name] = column.astype(object).map({True: "true", False: "false"})
    with atomic_path(Path(path)) as temporary:
        text.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n", encoding="utf-8")


def read_table(path: Path, name: str) -> pd.DataFrame:
    """The table `name` of TABLES in the file `path`.

    Raises:
        ArtifactError: the file is missing, has other columns, a row of another length, or a cell that is not of its
            column's type; names file, row, column and cell.
    """
    return read_columns(path, TABLES[name])


def read_columns(path: Path, columns: Columns) -> pd.DataFrame:
    """Like `read_table`, for columns that are declared elsewhere."""
    text = read_text(Path(path), "a step of this workflow")
    try:
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    except csv.Error as error:
        raise ArtifactError(f"{path}: not a table ({error}); delete it and run again") from None
    if header != list(columns):
        odd = sorted(set(header) ^ set(columns)) or "in another order"
        raise ArtifactError(f"{path}: columns {odd} differ from the declared ones; delete it and run again")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ArtifactError(f"{path}: row {number} has {len(row)} cells of {len(header)}; delete it and run again")
    cells = zip(*rows) if rows else ((),) * len(header)
    return pd.DataFrame({name: _typed(path, name, column, columns[name]) for name, column in zip(header, cells)})


def write_table(path: Path, table: pd.DataFrame | Iterable[Mapping[str, Any]], name: str) -> None:
    """Write a DataFrame, or rows, as the table `name` of TABLES; columns that a row lacks are missing values.

    Raises:
        ArtifactError: an undeclared column, or a value that is not of its column's type.
    """
    write_columns(path, table, TABLES[name])


def write_columns(path: Path, table: pd.DataFrame | Iterable[Mapping[str, Any]], columns: Columns) -> None:
    """Like `write_table`, for columns that are declared elsewhere."""
    frame = table if isinstance(table, pd.DataFrame) else pd.DataFrame(list(table), dtype=object)
    if extra := [name for name in frame.columns if name not in columns]:
        raise ArtifactError(f"{path}: undeclared column(s) {extra}; declared: {list(columns)}")
    write_frame(path, typed(frame, columns, path))


def typed(frame: pd.DataFrame, columns: Columns, path: Path | str = "table") -> pd.DataFrame:
    """The frame with exactly `columns`, each of its type; absent columns are missing values.

    Raises:
        ArtifactError: a value is not of its column's type.
    """
    found: dict[str, pd.Series] = {}
    for name, kind in columns.items():
        column = frame[name] if name in frame else pd.Series([None] * len(frame), index=frame.index, dtype=object)
        try:
            cells = column.astype(object).where(column.notna(), "" if kind == TEXT else None)
            found[name] = (cells.map(str) if kind == TEXT else cells).astype(kind)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"{path}: column {name!r} is not of type {kind}: {error}") from error
    return pd.DataFrame(found, index=frame.index).reset_index(drop=True)


def select(frame: pd.DataFrame, **equal: Any) -> pd.DataFrame:
    """Rows in which every named column equals its value: `select(gap, subset="overall", form="gap")`."""
    chosen = np.ones(len(frame), dtype=bool)
    for name, value in equal.items():
        chosen &= (frame[name] == value).fillna(False).to_numpy(dtype=bool)
    return frame[chosen]


def last_checkpoints(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of the last checkpoint of every model, in their order; untuned backbones (`base`) are left out."""
    tuned = frame[frame["checkpoint"] != "base"]
    steps = tuned["step"].fillna(-1)
    return tuned[steps == steps.groupby(tuned["model"]).transform("max")]


def without_repeated_starts(points: pd.DataFrame, *also: str) -> pd.DataFrame:
    """Points of several runs, each untrained model once: of step 0 and one `start`, the first row stays.

    Before training, runs that differ only in what will be trained are one model; pooled as several points they would
    count one measurement several times, at the end of the axis with the most leverage. `also`: further columns by which
    rows are told apart, such as the question.
    """
    untrained = points["step"].eq(0).fillna(False).to_numpy(dtype=bool)
    return points[~(untrained & points.duplicated(["step", "start", *also]).to_numpy())]


def _typed(path: Path, name: str, cells: Sequence[str], kind: str) -> pd.Series:
    if kind == TEXT:
        return pd.Series(cells, dtype=TEXT)
    read = {WHOLE: int, NUMBER: float, TRUTH: {"true": True, "false": False}.__getitem__}[kind]
    missing = math.nan if kind == NUMBER else None
    values = []
    for row, cell in enumerate(cells, start=2):
        try:
            values.append(read(cell) if cell else missing)
        except (KeyError, ValueError):
            message = f"{path}: row {row}, column {name!r}: {cell!r} is not of type {kind}; delete it and run again"
            raise ArtifactError(message) from None
    return pd.Series(values, dtype=kind)
