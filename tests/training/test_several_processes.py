"""Training by two processes (gloo, CPU): the same model as by one, whole or split, and one set of complete files."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.speech.test_killed_synthesis import runs, wait_for
from tests.workflow.workflow_copy import ROOT
from workflow_scripts.artifacts.checkpoints import CheckpointIndex, weights_hash
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm
from workflow_scripts.training import initial_model, start_training, train_model
from workflow_scripts.training.start_training import launcher
from workflow_scripts.training.train_processes import write_job

LAST = "step-000006"
NAMES = ("questions", "manifest", "features", "answers", "backbone")


@pytest.fixture(scope="module")
def arguments(instructions, recipe, model_entry):
    """Arguments of `train_model` into a folder."""

    def of(folder, entry=None, **changes):
        return dict(zip(NAMES, instructions.paths())) | {
            "warmup": None,
            "checkpoints": folder / "checkpoints.json",
            "curve": folder / "log.csv",
            "name": "tiny",
            "model": model_entry(**{"strategy": "full", "processes": 2, **(entry or {})}),
            "recipe": recipe(**changes),
            "system_prompt": None,
        }

    return of


@pytest.fixture(scope="module")
def trained(arguments, tmp_path_factory):
    """Folders of full fine-tuning by one process; by two; by two that split it; and by two that were killed once."""
    folder, jobs = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("jobs")
    split = {"processes": 2, "shard": True}
    runs = {
        # With micro-batches of one sample, a process has some without speech.
        "1-whole-own": arguments(folder / "whole", micro_batch_size=1),
        "2-split-own": arguments(folder / "split", split, micro_batch_size=1),
        "3-resumed-killed": arguments(folder / "resumed", split, micro_batch_size=1),
        "4-resumed": arguments(folder / "resumed", split, micro_batch_size=1),
    }
    for name, values in runs.items():
        write_job(jobs / f"{name}.json", None, values)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    found = subprocess.run(
        [*launch, str(ROOT / "tests" / "training" / "exact_process.py"), str(jobs)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert found.returncode == 0, found.stderr[-5000:]
    with pytest.MonkeyPatch.context() as patch:
        for module in (initial_model, train_model):
            patch.setattr(module, "multiplies_bfloat16", lambda device: False)
        train_model.train_model(**arguments(folder / "one", {"processes": 1}))
    return {
        "one": folder / "one",
        "whole": folder / "whole" / "process-0",
        "split": folder / "split" / "process-0",
        "resumed": folder / "resumed",
    }


def weights(folder):
    return load_file(folder / "model.safetensors") | load_file(folder / "adapter.safetensors")


@pytest.mark.parametrize("how", ["whole", "split"])
def test_two_processes_train_the_model_that_one_trains(trained, how):
    start, one, two = (
        weights(trained[run] / step) for run, step in (("one", "step-000000"), ("one", LAST), (how, LAST))
    )
    assert one.keys() == two.keys()
    for name in one:
        change, difference = (one[name] - start[name]).norm(), (two[name] - one[name]).norm()
        assert change > 0 and difference < 0.01 * change, (name, float(difference / change))


@pytest.mark.parametrize("how", ["whole", "split"])
def test_the_log_counts_the_samples_of_all_processes(trained, how):
    rows, expected = (
        {key(row): row for row in read_table(trained[run] / "log.csv", "training_log").to_dict("records")}
        for run in (how, "one")
    )
    assert rows.keys() == expected.keys()
    for place, row in rows.items():
        assert (row["n_samples"], row["n_tokens"]) == (expected[place]["n_samples"], expected[place]["n_tokens"])
        assert row["loss_per_token"] == pytest.approx(expected[place]["loss_per_token"], rel=1e-3)


def key(row):
    return row["step"], row["split"], row["form"]


@pytest.mark.parametrize(("how", "own"), [("whole", set()), ("split", {"optimizer_1.pt"})])
def test_the_second_process_writes_its_own_state_for_a_restart_and_nothing_else(trained, how, own):
    other = trained[how].parent / "process-1"
    assert {path.name for path in other.rglob("*") if path.is_file()} == own | {"rng_state_1.pth"}
    assert not list(trained[how].glob("trainer")) and not list(trained[how].glob(".*"))


@pytest.mark.parametrize("how", ["whole", "split"])
def test_every_checkpoint_is_complete_and_loads(trained, instructions, how):
    index = CheckpointIndex.read(trained[how] / "checkpoints.json")
    assert [entry.step for entry in index.checkpoints] == [0, 2, 4, 6]
    for entry in index.checkpoints:
        folder = trained[how] / entry.name
        assert entry.sha256 == weights_hash(folder)
        loaded = load_lslm(folder, instructions.backbone)
        assert all(torch.isfinite(parameter).all() for parameter in loaded.parameters())


def test_a_killed_run_of_a_split_model_resumes_to_the_same_bits(trained):
    for step in ("step-000002", LAST):
        first, second = weights(trained["split"] / step), weights(trained["resumed"] / step)
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_step_starts_the_processes_by_torchrun(arguments, instructions, tmp_path):
    """LoRA with dropout, in the machine's own number format."""
    log = tmp_path / "train.log"
    folder = tmp_path / "m"
    start_training.start_training(arguments(folder, {"strategy": "lora"}), 2, log)
    text = log.read_text()
    assert "process 0: " in text and "process 1: " not in text
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoints.json",
        "log.csv",
        *(f"step-{step:06d}" for step in (0, 2, 4, 6)),
    ]
    assert all(
        math.isfinite(row["loss_per_token"])
        for row in read_table(folder / "log.csv", "training_log").to_dict("records")
    )
    first, last = (load_lslm(folder / step, instructions.backbone, merge=False) for step in ("step-000000", LAST))
    changed = {n for (n, a), b in zip(first.state_dict().items(), last.state_dict().values()) if not torch.equal(a, b)}
    assert any("lora_B" in name for name in changed) and any(name.startswith("adapter.") for name in changed)


def test_a_failure_of_a_process_ends_the_step_with_its_cause_in_the_log(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("MODGAP_LAUNCHER", sys.executable)  # a launcher of one process
    log = tmp_path / "train.log"
    broken = arguments(tmp_path / "m", micro_batch_size=3)
    with pytest.raises(ArtifactError, match=r"by 2 processes ended with code 1; the cause stands in .*train\.log"):
        start_training.start_training(broken, 2, log)
    assert "batch_size 4 does not divide into 1 processes x micro-batches of 3" in log.read_text()
    assert not (tmp_path / "m" / "job.json").exists()


def test_a_request_to_end_reaches_the_processes(arguments, tmp_path, monkeypatch):
    monkeypatch.setattr(start_training, "launcher", lambda *_: ["sh", "-c", "exec sleep 60"])
    before, timer = signal.getsignal(signal.SIGTERM), threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(ArtifactError, match="ended with code -15"):
        start_training.start_training(arguments(tmp_path / "m"), 2, None)
    assert signal.getsignal(signal.SIGTERM) == before


STEP = """
import sys
from pathlib import Path
from workflow_scripts.training import start_training, train_processes
start_training.start_training(train_processes.read_job(Path(sys.argv[1]))[1], 2, None)
"""


def test_a_killed_step_leaves_no_processes(arguments, tmp_path):
    write_job(tmp_path / "job.json", None, arguments(tmp_path / "m", checkpoint_steps=[0, 900_000]))
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, "-c", STEP, str(tmp_path / "job.json")], cwd=ROOT, env=environment) as step:
        started = []
        try:
            wait_for(lambda: (tmp_path / "m" / "trainer" / "log.csv").exists(), 600)
            started = psutil.Process(step.pid).children(recursive=True)
            assert sum(start_training.PROGRAM in process.cmdline() for process in started) == 3  # torchrun, its two
            step.kill()
            wait_for(lambda: not any(runs(process.pid) for process in started))
        finally:
            step.kill()
            for process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


WORKER = "import time; from workflow_scripts.artifacts.processes import end_once_closed; end_once_closed(0); "


def test_a_killed_launcher_leaves_no_processes(tmp_path):
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(__import__('os').getpid())); time.sleep(600)"
    killed = 'import os, subprocess, sys; subprocess.Popen([sys.executable, "-c", sys.argv[1]]); '
    killed += f"p = {str(tmp_path / 'pid')!r}"
    killed += "\nwhile not (os.path.exists(p) and os.path.getsize(p)): pass\nos.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", killed, WORKER + note]
    assert start_training.run_and_pass_on_the_end(command, environment) == -signal.SIGKILL
    wait_for(lambda: not runs(int((tmp_path / "pid").read_text())))


def test_a_site_can_name_its_own_launcher():
    words = launcher(16, {"MODGAP_LAUNCHER": "srun --nodes=2 torchrun --rdzv-endpoint '{host}:29400' --n={processes}"})
    assert words[:3] == ["srun", "--nodes=2", "torchrun"] and words[-1] == "--n=16"
    assert words[4].endswith(":29400") and "{" not in words[4]
    with pytest.raises(ArtifactError, match="is not a command line"):
        launcher(2, {"MODGAP_LAUNCHER": "srun 'open"})


def test_what_cannot_be_split_or_shared_is_refused_in_the_config(recipe, model_entry):
    for changes in ({"strategy": "lora", "processes": 2}, {"strategy": "full", "processes": 1}):
        with pytest.raises(ValueError, match="only full fine-tuning by several processes"):
            TrainedModel.model_validate(model_entry(shard=True, **changes))
    settings = RecipeSettings.model_validate(recipe(batch_size=128, micro_batch_size=8))
    assert settings.unfit_batch(16) is None
    assert "does not divide into 3 processes" in settings.unfit_batch(3)
    assert "8 processes x micro-batches of 32" in RecipeSettings.model_validate(
        recipe(batch_size=128, micro_batch_size=32)
    ).unfit_batch(8)
