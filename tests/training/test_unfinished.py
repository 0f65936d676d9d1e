"""A training that is killed while it ends, or whose state for a restart is damaged, is finished by the next run."""

import logging
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


@pytest.fixture
def killed(train_distilled, tmp_path, monkeypatch):
    """Folder of a run that was killed in step 6, with the state of step 4."""
    compute = LSLMTrainer.compute_loss

    def until_step_six(self, *arguments, **options):
        if self.state.global_step == 5:
            raise KeyboardInterrupt
        return compute(self, *arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LSLMTrainer, "compute_loss", until_step_six)
        train_distilled(tmp_path / "killed")
    return tmp_path / "killed"


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


def test_a_damaged_state_is_named_and_deleted_and_a_whole_one_stays(killed, tmp_path, caplog):
    [state] = (killed / "trainer").glob("checkpoint-*")
    names = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    assert names <= {path.name for path in state.iterdir()}
    unfinished.discard_damaged(killed)
    assert unfinished.last_state(killed) == state and not caplog.records
    damages = [(name, damage) for name in sorted(names | {"checksums.json"}) for damage in (cut, zero, Path.unlink)]
    for number, (name, damage) in enumerate(damages):
        folder = tmp_path / str(number)
        shutil.copytree(killed, folder)
        damage(folder / "trainer" / state.name / name)
        caplog.clear()
        unfinished.discard_damaged(folder)
        assert unfinished.last_state(folder) is None, (name, damage)
        [record] = caplog.records
        assert record.levelno == logging.WARNING and str(folder / "trainer" / state.name) in record.getMessage()
    (killed / "trainer" / "log.csv").unlink()
    unfinished.discard_damaged(killed)
    assert unfinished.last_state(killed) is None and "log.csv: not found" in caplog.text


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


def test_a_run_with_a_damaged_state_goes_on_from_an_older_one(killed):
    older = killed / "trainer" / "checkpoint-2"
    shutil.copytree(killed / "trainer" / "checkpoint-4", older)
    cut(killed / "trainer" / "checkpoint-4" / "optimizer.pt")
    unfinished.discard_damaged(killed)
    assert unfinished.last_state(killed) == older


def test_a_run_without_a_whole_state_begins_again(train_distilled, trained_steps, killed, tmp_path):
    whole = train_distilled(tmp_path / "whole")
    zero(killed / "trainer" / "checkpoint-4" / "rng_state.pth")
    trained_steps.clear()
    assert train_distilled(killed) == whole and set(trained_steps) == {1, 2, 3, 4, 5, 6}
