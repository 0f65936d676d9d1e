"""tags.csv: is the gap another one for a kind of questions than for the rest? By `question_tags`, at last checkpoints.

Measures: `score`, text - speech in points; `loss`, speech - text in nats per token of the reference, averaged over
questions (gap.csv averages over tokens). A row has the gap of the questions with the tag, that of the rest, and their
difference: the interaction of tag and form, with MOVER's interval and the p of exchanged tags (`group_tests`), Holm's
correction over the tags of a model, subset and measure. Below `FEWEST` questions on a side nothing is tested.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.evaluation.question_tags import all_tags, in_order
from workflow_scripts.evaluation.score_index import FormScores, read_scores
from workflow_scripts.statistics.group_tests import exchange_p, groups_interval
from workflow_scripts.statistics.means import POINTS, Mean
from workflow_scripts.statistics.paired_tests import holm

FEWEST = 5
DRAWS = 1999


def build_tag_table(
    questions: Sequence[Path], manifests: Sequence[Path], scores: Sequence[Path], table: Path, *, seed: int
) -> None:
    """Write tags.csv.

    Args:
        questions, manifests: questions.jsonl and manifest.jsonl of the subsets, in one order.
        scores: score files of any models, checkpoints, subsets and forms; subsets without both forms have no rows.
        seed: of the exchanges.
    """
    tags: dict[str, Mapping[str, Sequence[str]]] = {}
    for path, manifest in zip(questions, manifests, strict=True):
        asked = QUESTIONS.read(Path(path))
        tags[asked[0].subset] = all_tags(asked, UTTERANCES.read(Path(manifest)))
    rows = (
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset} | row
        for (model, checkpoint), subsets in sorted(read_scores(scores).items())
        for subset, forms in sorted(subsets.items())
        if "text" in forms and "speech" in forms
        for measure, (ids, gaps, bounds) in measured_gaps(forms["text"], forms["speech"]).items()
        for row in (
            {"measure": measure} | row for row in tag_rows(gaps, bounds, [tags[subset][name] for name in ids], seed)
        )
    )
    write_table(Path(table), rows, "tags")


def measured_gaps(
    text: FormScores, speech: FormScores
) -> dict[str, tuple[list[str], np.ndarray, tuple[float, float] | None]]:
    """By measure: the questions that have it in both forms, the gap of each, and what bounds one form's value."""
    found = {"score": (list(text.ids), text.scores - speech.scores, POINTS)}
    having = (text.tokens > 0) & (speech.tokens > 0) & ~np.isnan(text.nll) & ~np.isnan(speech.nll)
    if having.any():
        of_text, of_speech = (one.nll[having] / one.tokens[having] for one in (text, speech))
        found["loss"] = [name for name, has in zip(text.ids, having) if has], of_speech - of_text, None
    return found


def tag_rows(
    gaps: np.ndarray, bounds: tuple[float, float] | None, tags: Sequence[Sequence[str]], seed: int
) -> Iterator[dict[str, Any]]:
    """A row per tag, of the (n,) gaps of questions with these tags.

    bounds: of the score whose differences they are; None for losses.
    """
    rows, tested = [], []
    for tag in in_order(tags):
        members = np.array([tag in own for own in tags])
        with_tag, rest = (_mean(gaps[chosen], bounds) for chosen in (members, ~members))
        low, high = with_tag.interval
        row = {"tag": tag, "n": len(with_tag.values), "value": with_tag.value, "low": low, "high": high}
        row |= {"n_rest": len(rest.values), "rest": rest.value}
        if min(row["n"], row["n_rest"]) >= FEWEST:
            difference_low, difference_high = groups_interval(with_tag, rest)
            row |= {"difference": with_tag.value - rest.value, "p": exchange_p(gaps, members, draws=DRAWS, seed=seed)}
            row |= {"difference_low": difference_low, "difference_high": difference_high}
            tested.append(row)
        rows.append(row)
    for row, p in zip(tested, holm(np.array([row["p"] for row in tested]))):
        row["p_holm"] = float(p)
    yield from rows


def _mean(gaps: np.ndarray, bounds: tuple[float, float] | None) -> Mean:
    return Mean(float(gaps.mean()) if len(gaps) else float("nan"), gaps, bounds, paired=True)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_tag_table(
            s.input.questions,
            s.input.manifests,
            [Path(path) for path in s.input.scores],
            s.output.table,
            seed=s.params.seed,
        ),
    )
