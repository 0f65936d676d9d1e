"""Training prompts in seeded shards of `training.prompts_per_shard`; one job each speaks, transcribes and answers."""

from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.shards import split_shards


def split_prompts(questions: Path, shards: Sequence[Path], *, seed: int) -> None:
    """Write each shard's prompts in their order.

    Args:
        shards: all files of the split in the order of their numbers; each is named by its shard, as 00-of-02.jsonl.
    """
    asked = QUESTIONS.read(Path(questions))
    for path, chosen in zip(shards, split_shards(asked, len(shards), seed)):
        QUESTIONS.write(path, chosen, provenance(shard=path.stem, seed=seed))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: split_prompts(s.input.questions, [Path(path) for path in s.output.shards], seed=s.params.seed),
    )
