"""What follows the models' steps (`scale_questions`): measures with null shard by shard, scores, and tables."""

from pathlib import Path

from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.evaluation.build_gap_table import build_gap_table
from workflow_scripts.evaluation.score_answers import score_answers
from workflow_scripts.similarity.measure_similarity import measure_similarity

SEED = 2510
SHARD = 100
"""Questions per shard."""
SUBSET, FORMS = "tiny", ("text", "speech", "asr")
DRAWS, MASSIVE = 20, 4


def answers_of(folder: Path, form: str, shard: str) -> Path:
    """An answer file."""
    return folder / "answers" / f"{form}.{shard}.answers.jsonl"


def measured(folder: Path, kind: str, shard: str) -> Path:
    """A file of states, similarity or alignment."""
    return folder / kind / f"{shard}.h5"


def similarity(folder: Path, n: int) -> None:
    """With null."""
    for shard in shard_names(n, SHARD):
        states, found = (measured(folder, kind, shard) for kind in ("states", "similarity"))
        measure_similarity(states, found, draws=DRAWS, seed=SEED, massive=MASSIVE)


def alignment(folder: Path, n: int) -> None:
    """With null."""
    for shard in shard_names(n, SHARD):
        states, found = (measured(folder, kind, shard) for kind in ("states", "alignment"))
        align_tokens(states, found, draws=DRAWS, seed=SEED, examples=1)


def scores(folder: Path, n: int) -> None:
    """Of all forms."""
    score_answers(
        folder / "questions.jsonl",
        [answers_of(folder, form, shard) for form in FORMS for shard in shard_names(n, SHARD)],
        folder / "punkt" / "asset.json",
        _scores(folder),
        model="tiny-lora",
        checkpoint="step-000003",
        subset=SUBSET,
        forms=FORMS,
        scorer="short_answer",
    )


def gap_table(folder: Path, _: int) -> None:
    """One model, checkpoint and subset."""
    tables = [folder / f"{name}.csv" for name in ("gap", "decline", "cascade", "twins")]
    build_gap_table(_scores(folder), *tables, overall=[SUBSET], knowledge=[], backbones={}, twins={}, repeats={})


def layer_table(folder: Path, n: int) -> None:
    """`build_alignment_table` of one model, checkpoint and subset."""
    files = [[measured(folder, kind, shard) for shard in shard_names(n, SHARD)] for kind in ("similarity", "alignment")]
    build_alignment_table(*files, *(folder / f"{name}.csv" for name in ("layers", "checkpoints", "cka")))


def _scores(folder: Path) -> list[Path]:
    return [folder / "scores" / f"{form}.scores.json" for form in FORMS]


STEPS = {
    "similarity": similarity,
    "alignment": alignment,
    "scores": scores,
    "gap_table": gap_table,
    "layer_table": layer_table,
}
