"""A training that is killed while it ends is finished by the next run."""

import shutil
from pathlib import Path

import pytest

from workflow_scripts.training import train_model as step
from workflow_scripts.training import unfinished
from workflow_scripts.training.curve import LearningCurve
from workflow_scripts.training.trainer import LSLMTrainer


@pytest.fixture
def trained_steps(monkeypatch):
    """Steps that are trained, in their order."""
    compute, steps = LSLMTrainer.compute_loss, []

    def noted(self, *arguments, **options):
        steps.append(self.state.global_step + 1)
        return compute(self, *arguments, **options)

    monkeypatch.setattr(LSLMTrainer, "compute_loss", noted)
    return steps


def die(*_, **__):
    raise KeyboardInterrupt


def outputs_unwritten(patch):
    save = LearningCurve.save
    patch.setattr(LearningCurve, "save", lambda self, path=None: die() if path else save(self))


def index_unwritten(patch):
    patch.setattr(step.CheckpointIndex, "write", die)


def states_half_deleted(patch):
    rmtree = shutil.rmtree

    def half(path, **options):
        if Path(path).name == "checkpoint-4":  # earlier ones are deleted by Trainer
            (Path(path) / "model.safetensors").unlink()
            die()
        rmtree(path, **options)

    patch.setattr(shutil, "rmtree", half)


def states_deleted(patch):
    patch.setattr(Path, "rename", die)


@pytest.mark.parametrize("kill", [outputs_unwritten, index_unwritten, states_half_deleted, states_deleted])
def test_a_run_killed_behind_its_last_checkpoint_is_finished_without_training(
    train_distilled, trained_steps, tmp_path, monkeypatch, kill
):
    folder = tmp_path / "m"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        kill(patch)
        train_distilled(folder)
    log = (folder / "trainer" / "log.csv").read_text()
    for output in ("checkpoints.json", "log.csv"):  # as Snakemake does with an unfinished job's
        (folder / output).unlink(missing_ok=True)
    assert set(trained_steps) == {1, 2, 3, 4, 5, 6}
    trained_steps.clear()
    monkeypatch.setattr(step, "new_lslm", None)
    made = train_distilled(folder)
    assert trained_steps == [] and list(made) == [f"step-{n:06d}" for n in (0, 2, 4, 6)]
    assert (folder / "log.csv").read_text() == log
    assert {path.name for path in folder.iterdir()} == {*made, "checkpoints.json", "log.csv"}


def test_what_a_kill_at_the_very_end_left_is_cleared_by_the_next_run(train_distilled, tmp_path, monkeypatch):
    folder, rmtree = tmp_path / "m", shutil.rmtree

    def until_the_last(path, **options):
        die() if Path(path).name == ".trainer" else rmtree(path, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", until_the_last)
        train_distilled(folder)
    assert (folder / "checkpoints.json").exists() and (folder / ".trainer" / "run.json").exists()
    made = train_distilled(folder)
    assert {path.name for path in folder.iterdir()} == {*made, "checkpoints.json", "log.csv"}


@pytest.mark.parametrize("lost", ["step-000002", "trainer/log.csv"])
def test_a_run_that_lost_a_checkpoint_or_its_log_is_not_taken_for_trained(train_distilled, tmp_path, monkeypatch, lost):
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        index_unwritten(patch)
        train_distilled(tmp_path)
    path = tmp_path / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert not unfinished.is_trained(tmp_path, [0, 2, 4, 6])
