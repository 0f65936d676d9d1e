"""tags.csv: is the gap another one for a kind of questions than for the rest? By `question_tags`, at last checkpoints.

Measures: `score`, text - speech in points; `loss`, speech - text in nats per token of the reference, averaged over
questions (gap.csv averages over tokens). A row has the gap of the questions with the tag, that of the rest, and their
difference: the interaction of tag and form (`statistics.by_tag`), Holm's correction over the tags of a model, subset
and measure.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.evaluation.score_index import FormScores, read_scores
from workflow_scripts.measures.question_tags import all_tags
from workflow_scripts.statistics.by_tag import tag_rows
from workflow_scripts.statistics.means import POINTS


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
