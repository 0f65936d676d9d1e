"""attention.csv and knockout.csv: where answers look, by layer, and what hiding the query from them costs (ours).

attention.csv has one row per model, kind of questions, form, class of positions and layer. share: of the attention of
the prompt's last position and of the answer's tokens, mean over these, over heads and over n questions, with its
interval over questions; uniform: share of the positions in sight, what attention without preference would give;
highest: the same share of each question's most attentive head (a choice among heads: it has no chance level).

knockout.csv has one row per model, kind, form and window of layers, the last one of all layers. change: mean(hidden -
base) of the outcome, control: that with random other positions hidden, mean over draws; difference: change - control;
both with Student's interval over questions. p: the larger p of the paired tests against nothing hidden and against the
control, p_holm: Holm's over all rows; detectable: smallest difference from the control that n questions show.
n_positions, n_control: positions hidden, mean over questions; there can be fewer others than the query has.

A model without a fitting question, or whose attention cannot be read or masked, has a row that says so.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.attention import ATTENTION, KNOCKOUT, LOOKED_AT, AttentionRecord, KnockoutRecord
from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.records import RecordFile
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.patching.compare_patches import NO_QUESTION
from workflow_scripts.statistics.means import share_interval, student_interval
from workflow_scripts.statistics.mediation import detectable_share, paired_p
from workflow_scripts.statistics.paired_tests import holm

logger = logging.getLogger(__name__)

Row = dict[str, Any]
Rows = Callable[[Sequence[Any], Mapping[str, Any]], Iterator[Row]]


def compare_attention(looked: Sequence[Path], knocked: Sequence[Path], attention: Path, knockout: Path) -> None:
    """Write both tables from the files of all models; shards of a model count together."""
    write_table(attention, _table(looked, ATTENTION, attention_rows), "attention")
    rows = _table(knocked, KNOCKOUT, knockout_rows)
    tested = holm(np.array([row.get("p", np.nan) for row in rows], dtype=np.float64))
    write_table(knockout, [row | {"p_holm": p} for row, p in zip(rows, tested.tolist())], "knockout")


def attention_rows(records: Sequence[AttentionRecord], _facts: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of one kind and form: every class at every layer."""
    for name in LOOKED_AT:
        shares, highest = (np.array([getattr(one, what)[name] for one in records]) for what in ("shares", "highest"))
        uniform = float(np.mean([one.uniform[name] for one in records]))
        for layer, (own, most) in enumerate(zip(shares.T, highest.T)):
            row = {"positions": name, "layer": layer, "n": len(own), "share": own.mean(), "uniform": uniform}
            low, high = share_interval(own)
            yield row | {"share_low": low, "share_high": high, "highest": most.mean()}


def knockout_rows(records: Sequence[KnockoutRecord], facts: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of one kind and form: every window."""
    base = np.array([one.base for one in records])
    for place, (first, n_layers) in enumerate(records[0].windows):
        hidden = np.array([one.values[place] for one in records])
        control = np.array([np.mean([draw[place] for draw in one.controls]) for one in records])
        row: Row = {"window": n_layers, "layer": first, "depth": facts["n_layers"], "n": len(records)}
        row |= {"outcome": records[0].outcome, "base": base.mean(), "draws": max(len(one.controls) for one in records)}
        for name in ("n_positions", "n_control"):
            row[name] = float(np.mean([getattr(one, name) for one in records]))
        row |= {"change": (hidden - base).mean(), "control": (control - base).mean()}
        row["difference"] = row["change"] - row["control"]
        for name, values in (("change", hidden - base), ("difference", hidden - control)):
            row[f"{name}_low"], row[f"{name}_high"] = student_interval(values)
        row["p"] = max(paired_p(hidden, base), paired_p(hidden, control))
        yield row | {"detectable": detectable_share(hidden, control, 1.0)}


def _table(paths: Sequence[Path], kept: RecordFile, rows_of: Rows) -> list[Row]:
    """Rows of all models, by kind and form, each with what was skipped."""
    by_run: dict[tuple[str, str, str], list[tuple[list[Any], Mapping[str, Any]]]] = defaultdict(list)
    for path in paths:
        records, header = kept.read_with_header(path)
        facts = header["provenance"]
        by_run[facts["model"], facts["checkpoint"], Path(path).parent.name].append((records, facts))
    rows: list[Row] = []
    for (model, checkpoint, subset), files in by_run.items():
        run = {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset}
        records = sorted((one for found, _ in files for one in found), key=lambda one: one.id)
        if not records:
            reason = files[0][1].get("left_out") or NO_QUESTION
            logger.warning("%s %s: attention of no question of %s: %s", model, checkpoint, subset, reason)
            rows.append(run | {"n": 0, "skipped": 0, "note": reason})
        for kind, form in sorted({(one.kind, one.form) for one in records}):
            own = [one for one in records if (one.kind, one.form) == (kind, form)]
            reasons = Counter(one.skipped for one in own if one.skipped)
            shown = run | {"kind": kind, "form": form, "skipped": reasons.total()}
            shown["note"] = "; ".join(f"{reason}: {n}" for reason, n in reasons.items())
            used = [one for one in own if not one.skipped]
            rows += [shown | row for row in (rows_of(used, files[0][1]) if used else [{"n": 0}])]
    return rows


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: compare_attention(
            *([Path(path) for path in s.input[name]] for name in ("looked", "knocked")),
            Path(s.output.attention),
            Path(s.output.knockout),
        ),
    )
