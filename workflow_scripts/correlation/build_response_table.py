"""responses.csv, response_positions.csv, lens.csv and word_reading.csv: what measure_responses found, by checkpoint.

A question's divergence is its mean over positions; a checkpoint's the mean over questions of a subset, then over
subsets. The tail counts: the 80th and 95th percentile over positions of all questions stand beside the mean.

word_reading.csv: words under the logit lens while they are spoken (`activations.read_lens`). target: the word itself
(`own`) or the one after it (`next`); offset: seconds between a word's time and where the lens is read; measure: recall
among the ten most likely tokens, or mean log10 rank. value: mean over questions; null, null_sd, p: with the words of
other questions of the subset (`measures.word_reading.exchanged`); words: how many were looked for; skipped: questions
without value, why in note.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.responses import Responses, read_responses
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.measures.pair_null import plan_pairs
from workflow_scripts.measures.reading import mean_over_layers, nan_mean
from workflow_scripts.measures.word_reading import HIGHER_IS_BETTER, TARGETS, exchanged
from workflow_scripts.statistics.means import difference_interval


def build_response_table(
    responses: Sequence[Path], table: Path, positions: Path, lens: Path, words: Path, *, draws: int, seed: int
) -> None:
    """Write the tables from the responses files of all checkpoints; `draws` of the null of word_reading.csv."""
    rows, by_position, looked, read = [], [], [], []
    for path in responses:
        content = read_responses(path)
        checkpoint = str(content.attributes["checkpoint"])
        key = {"model": str(content.attributes["model"]), "checkpoint": checkpoint, "step": checkpoint_step(checkpoint)}
        rows.append(key | checkpoint_row(content))
        looked += [key | row for row in lens_rows(content)]
        read += [key | row for row in word_rows(content.words, draws, seed)]
        by_position += [key | row for row in position_rows(content)]
    write_table(table, sorted(rows, key=_order), "responses")
    write_table(positions, sorted(by_position, key=_order), "response_positions")
    write_table(lens, sorted(looked, key=_order), "lens")
    write_table(words, sorted(read, key=_order), "word_reading")


def checkpoint_row(content: Responses) -> dict[str, Any]:
    """Means over subsets of means over questions."""
    row: dict[str, Any] = {"n": len(content.ids)}
    for (kind, prefix), values in content.divergence.items():
        name = "kl_forgetting" if kind == "forgetting" else f"kl_{kind}_{prefix}"
        row[name] = _over_subsets(nan_mean(np.float64(values), axis=1), content.subsets)
    if (values := content.divergence.get(("forward", "text"))) is not None:
        defined = values[~np.isnan(values)]
        for percent in (80, 95):
            row[f"kl_forward_p{percent}"] = float(np.percentile(defined, percent)) if defined.size else float("nan")
    for name, values in (("response_cosine", content.similarity), ("response_cosine_null", content.similarity_null)):
        row[name] = _over_subsets(mean_over_layers(values, axis=1), content.subsets)
    for name, layer in (("first", 1), ("last", -1)):
        row[f"response_cosine_{name}"] = _over_subsets(content.similarity[:, layer], content.subsets)
    return row


def position_rows(content: Responses) -> list[dict[str, Any]]:
    """One row per measure, prefix and position that any question reaches; position 0 predicts the first token."""
    rows = []
    for (kind, prefix), values in content.divergence.items():
        for position, column in enumerate(values.T):
            defined = column[~np.isnan(column)].astype(np.float64)
            if defined.size:
                row = {"measure": kind, "prefix": prefix, "position": position, "n": len(defined)}
                row |= {f"p{percent}": float(np.percentile(defined, percent)) for percent in (80, 95)}
                rows.append(row | {"mean": float(defined.mean())})
    return rows


def lens_rows(content: Responses) -> list[dict[str, Any]]:
    """Recall of the own and of another question's content words by layer, and their paired difference.

    The 95 % interval of the difference is over questions (`means.difference_interval`); empty for fewer than two.
    """
    rows = []
    for k, layer in enumerate(content.lens.get("layers", ())):
        recall, control = content.lens["recall"][:, k], content.lens["control"][:, k]
        both = ~np.isnan(recall) & ~np.isnan(control)
        if not both.any():
            continue
        difference = recall[both] - control[both]
        row = {"layer": int(layer), "n": int(both.sum()), "difference": float(difference.mean())}
        row |= {"recall": float(recall[both].mean()), "control": float(control[both].mean())}
        low, high = difference_interval(difference, 1.0)
        rows.append(row | {"difference_low": low, "difference_high": high})
    return rows


def word_rows(words: Mapping[str, np.ndarray], draws: int, seed: int) -> Iterator[dict[str, Any]]:
    """A row for each target, measure, layer and offset; nothing where the lens was not applied.

    Words are exchanged between questions of a subset with like numbers of positions and words.
    """
    if not len(words.get("subsets", ())):
        return
    reasons = Counter(reason.decode() for reason in words["reasons"] if reason)
    note = "; ".join(f"{reason}: {number}" for reason, number in sorted(reasons.items()))
    for target in TARGETS:
        counts = words[f"{target}_words"]
        bins = plan_pairs(words["positions"], counts.max(axis=1), draws, seed, words["subsets"])
        for measure, better in HIGHER_IS_BETTER.items():
            found = exchanged(words[f"{target}_{measure}"].astype(np.float64), bins, better)
            for (i, layer), (j, offset) in product(enumerate(words["layers"]), enumerate(words["offsets"])):
                row = {name: float(getattr(found, name)[i, j]) for name in ("value", "null", "null_sd", "p")}
                row |= {"target": target, "measure": measure, "layer": int(layer), "offset": float(offset)}
                n = int(found.n[i, j])
                row |= {"n": n, "words": int(counts[:, j].sum()), "skipped": len(counts) - n, "note": note}
                yield row


def _over_subsets(values: np.ndarray, subsets: Sequence[str]) -> float:
    names = np.array(subsets)
    means = [nan_mean(np.float64(values[names == name])) for name in sorted(set(subsets))]
    return float(nan_mean(np.array(means)))


def _order(row: dict[str, Any]) -> tuple[str, int]:
    return row["model"], -1 if row["step"] is None else row["step"]


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_response_table(
            [Path(path) for path in s.input.responses],
            *(Path(s.output[name]) for name in ("table", "positions", "lens", "words")),
            draws=s.params.draws,
            seed=s.params.seed,
        ),
    )
