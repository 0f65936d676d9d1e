"""checkpoints.json of trainings that were not made, for what is planned from it."""

from pathlib import Path

from workflow_scripts.artifacts.checkpoints import CheckpointEntry, CheckpointIndex, checkpoint_name

DEFAULT_STUDY = {"coder-adapter": ([0, 375, 1875], "adapter"), "coder-lora": ([20], "lora")}
"""Models that the default study trains, on which studies/reference.yaml stands: their steps and strategy."""


def write_index(folder: Path, steps: list[int], strategy: str | None) -> Path:
    """Write it into `folder`; a training says its strategy, a conversion (None) does not."""
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "checkpoints.json"
    CheckpointIndex(
        model="made",
        checkpoints=[CheckpointEntry(name=checkpoint_name(step), step=step, sha256="") for step in steps],
        provenance={} if strategy is None else {"settings": {"model": {"strategy": strategy}}},
    ).write(index)
    return index


def write_default_study(root: Path) -> None:
    """What the default study has trained, in the results folder of `root`."""
    for name, (steps, strategy) in DEFAULT_STUDY.items():
        write_index(root / "results/training" / name, steps, strategy)
