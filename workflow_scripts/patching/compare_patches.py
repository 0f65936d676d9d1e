"""patching.csv and patching_profiles.csv: what each patch restores, beside its nulls, and where (ours).

patching.csv has one row per model, kind of questions, direction, position class, window and layer. share:
mean(patched - base) / mean(target - base), unclipped, with a bootstrap interval over questions
(`statistics.mediation`); difference: its denominator; share_clipped: mean of the questions' own shares clipped to
0 .. 1; other, random: shares under the nulls; p: the larger p of the paired tests against both nulls, p_holm: Holm's
over all rows; detectable: smallest difference from the null `other`, as a share, that n questions show. kl: nats, of
the run that the states come from and the patched one (base_kl: unpatched); agrees: share of questions with the most
likely next token of that run.

patching_profiles.csv has one row per profile over layers: the first and the last layer at which half is restored, with
intervals over the same resampled questions (L where never reached), the width of the rise from a quarter to three
quarters, the mean over layers, and the rank correlation of two halves of the questions. skipped: questions without such
positions, by reason in note; a model without a fitting question has a row that says so.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.patches import OTHER, PATCH, PATCHES, RANDOM, PatchRecord
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.statistics.mediation import (
    HALF,
    Shares,
    detectable_share,
    first_reaching,
    last_reaching,
    paired_p,
    restored_shares,
    split_half,
)
from workflow_scripts.statistics.paired_tests import holm

logger = logging.getLogger(__name__)

DRAWS = 2000
"""Resamples of the questions behind an interval."""
QUARTER, THREE_QUARTERS = 0.25, 0.75
NO_QUESTION = "no question right in one form only"
Cell = tuple[str, str, str, int]
"""Kind, direction, position class, window."""


def compare_patches(patches: Sequence[Path], cells: Path, profiles: Path, *, seed: int, draws: int = DRAWS) -> None:
    """Write both tables from the files of all models; shards of a model count together."""
    by_run: dict[tuple[str, str, str], list[tuple[list[PatchRecord], Mapping[str, Any]]]] = defaultdict(list)
    for path in patches:
        records, header = PATCHES.read_with_header(path)
        facts = header["provenance"]
        by_run[facts["model"], facts["checkpoint"], Path(path).parent.name].append((records, facts))
    cell_rows: list[dict[str, Any]] = []
    profile_rows: list[dict[str, Any]] = []
    for (model, checkpoint, subset), files in by_run.items():
        run = {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset}
        records = [record for found, _ in files for record in found]
        kept, facts = sum(facts["kept"] for _, facts in files), files[0][1]
        if not any(record.source for record in records):
            logger.warning("%s %s: nothing to patch among %d kept questions of %s", model, checkpoint, kept, subset)
            reasons = facts.get("left_out") or "; ".join(sorted({one.skipped for one in records})) or NO_QUESTION
            profile_rows.append(run | {"n": 0, "skipped": len({one.id for one in records}), "note": reasons})
            continue
        for cell, own in _grouped(records).items():
            one = run | dict(zip(("kind", "direction", "positions", "window"), cell))
            made = _Compared(own, draws, seed)
            cell_rows += [one | row for row in made.rows()]
            profile_rows.append(one | made.profile(facts["n_layers"]) | _skips(records, cell, made.alone))
        profile_rows += [run | row for row in _empty(records)]
    tested = holm(np.array([row["p"] for row in cell_rows], dtype=np.float64))
    cell_rows = [row | {"p_holm": p} for row, p in zip(cell_rows, tested.tolist())]
    write_table(cells, cell_rows, "patching")
    write_table(profiles, profile_rows, "patching_profiles")


class _Compared:
    """The questions of one cell, all layers: (n, C) outcomes by source, (n,) of the unpatched runs."""

    def __init__(self, own: Mapping[str, list[PatchRecord]], draws: int, seed: int) -> None:
        patched = own[PATCH]
        self.layers = patched[0].layers
        self.records = own
        self.base = np.array([one.base for one in patched])
        self.target = np.array([one.target for one in patched])
        self.base_kl = float(np.mean([one.base_kl for one in patched]))
        self.whole = float((self.target - self.base).mean())
        self.values = {source: np.array([one.values for one in rows]) for source, rows in own.items()}
        self.shares: dict[str, Shares] = {
            source: restored_shares(values, *self._runs(source), draws, seed) for source, values in self.values.items()
        }
        self.seed = seed

    def _runs(self, source: str) -> tuple[np.ndarray, np.ndarray]:
        rows = self.records[source]
        return np.array([one.base for one in rows]), np.array([one.target for one in rows])

    def _paired(self, null: str) -> list[int]:
        """Places of the null's questions among the patched: the only question of a shard has no other one."""
        places = {one.id: place for place, one in enumerate(self.records[PATCH])}
        return [places[one.id] for one in self.records[null]]

    @property
    def alone(self) -> int:
        """Questions without another one beside them; what is told of `other` leaves them out."""
        return len(self.base) - len(self.records.get(OTHER, ()))

    def rows(self) -> Iterator[dict[str, Any]]:
        """One per layer."""
        own, n = self.shares[PATCH], len(self.base)
        nulls = {null: self._paired(null) for null in (OTHER, RANDOM) if null in self.values}
        with np.errstate(divide="ignore", invalid="ignore"):
            each = (self.values[PATCH] - self.base[:, None]) / (self.target - self.base)[:, None]
        for place, layer in enumerate(self.layers):
            row = {
                "layer": layer,
                "n": n,
                "difference": self.whole,
                "share": own.estimate[place],
                "base_kl": self.base_kl,
            }
            row |= {"share_low": own.low[place], "share_high": own.high[place]}
            row["share_clipped"] = np.nanmean(np.clip(each[:, place], 0, 1)) if np.isfinite(each).any() else np.nan
            for quantity in ("kl", "agrees"):
                row[quantity] = np.mean([getattr(one, quantity)[place] for one in self.records[PATCH]])
            tests = []
            for null, paired in nulls.items():
                pair = self.values[PATCH][paired, place], self.values[null][:, place]
                row[null] = self.shares[null].estimate[place]
                tests.append(paired_p(*pair))
                if null == OTHER:
                    row["detectable"] = detectable_share(*pair, self.whole)
            if OTHER in row:
                row["other_kl"] = np.mean([one.kl[place] for one in self.records[OTHER]])
            yield row | {"p": max(tests, default=np.nan)}

    def profile(self, depth: int) -> dict[str, Any]:
        """Where half is restored. Layers are those of the model, whichever were patched; `depth` is L."""
        layers = np.array([*self.layers, depth])
        own = self.shares[PATCH]
        never = len(self.layers)
        row: dict[str, Any] = {
            "n": len(self.base),
            "depth": depth,
            "difference": self.whole,
            "first_half": layers[first_reaching(own.estimate, HALF, never)],
            "mean_share": np.nanmean(own.estimate) if np.isfinite(own.estimate).any() else np.nan,
            "split_half": split_half(self.values[PATCH], self.base, self.target, seed=self.seed),
        }
        if not np.isfinite(own.estimate).all():
            return row | {"first_half": None}
        last = last_reaching(own.estimate, HALF)
        row["last_half"] = layers[last] if last >= 0 else None
        rise = [layers[first_reaching(own.estimate, level, never)] for level in (QUARTER, THREE_QUARTERS)]
        row["width"] = (rise[1] - rise[0]) / depth
        if len(own.draws):
            firsts = layers[first_reaching(own.draws, HALF, never)]
            row["first_low"], row["first_high"] = np.quantile(firsts, [0.025, 0.975])
            row["reached"] = float((first_reaching(own.draws, HALF, never) < never).mean())
        return row


def _grouped(records: Sequence[PatchRecord]) -> dict[Cell, dict[str, list[PatchRecord]]]:
    """Records with values by cell and source; questions in one order in all sources."""
    found: dict[Cell, dict[str, list[PatchRecord]]] = {}
    for record in sorted((one for one in records if one.source), key=lambda one: one.id):
        cell = (record.kind, record.direction, record.positions, record.window)
        found.setdefault(cell, {}).setdefault(record.source, []).append(record)
    return found


def _skips(records: Sequence[PatchRecord], cell: Cell, alone: int = 0) -> dict[str, Any]:
    reasons = Counter(
        one.skipped
        for one in records
        if one.skipped and one.kind == cell[0] and (one.direction, one.positions) in (cell[1:3], ("", ""))
    )
    told = [f"{reason}: {n}" for reason, n in reasons.items()]
    told += [f"alone in its shard, so without a state of another question: {alone}"] * (alone > 0)
    return {"skipped": sum(reasons.values()), "note": "; ".join(told)}


def _empty(records: Sequence[PatchRecord]) -> Iterator[dict[str, Any]]:
    """Rows of classes in which no question had positions."""
    filled = {(one.kind, one.direction, one.positions) for one in records if one.source}
    every = {(one.kind, one.direction, one.positions) for one in records if one.skipped and one.positions}
    for kind, direction, positions in sorted(every - filled):
        cell = (kind, direction, positions, 1)
        named = {"kind": kind, "direction": direction, "positions": positions, "n": 0}
        yield named | _skips(records, cell)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: compare_patches(
            [Path(path) for path in s.input.patches],
            Path(s.output.cells),
            Path(s.output.profiles),
            seed=s.params.seed,
        ),
    )
