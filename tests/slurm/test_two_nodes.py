"""Training on two machines of a cluster by the launcher that docs/several-gpus.md names: two daemons on this one."""

import os
import subprocess
import sys
import time

import pytest

from tests.training.conftest import model_values, recipe_values, write_instructions
from tests.workflow.workflow_copy import ROOT
from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600), pytest.mark.xdist_group("real")]

LAUNCHER = (
    "srun --overlap --nodes=2 --ntasks=2 --ntasks-per-node=1 {python} -m torch.distributed.run --nnodes=2 "
    "--nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=127.0.0.1:29411"
)
STEP = """
import sys
from pathlib import Path
from tests.slurm.test_two_nodes import train
train(Path(sys.argv[1]))
"""


def train(folder):
    """What the step does, on the cluster."""
    from workflow_scripts.training.start_training import start_training

    names = ("questions", "manifest", "features", "answers", "backbone")
    arguments = dict(zip(names, write_instructions(folder).paths())) | {
        "warmup": None,
        "checkpoints": folder / "m" / "checkpoints.json",
        "curve": folder / "m" / "log.csv",
        "name": "tiny",
        "model": model_values(processes=2),
        "recipe": recipe_values(),
        "system_prompt": None,
    }
    start_training(arguments, 2, folder / "train.log")


def test_two_nodes_train_one_model(two_nodes, tmp_path):
    (tmp_path / "step.py").write_text(STEP)
    environment = os.environ | {
        "MODGAP_LAUNCHER": LAUNCHER.format(python=sys.executable),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    batch = ["sbatch", "--parsable", "--nodes=2", "--ntasks-per-node=1", "--mem=2000", f"--output={tmp_path / 'out'}"]
    wrapped = f"--wrap={sys.executable} {tmp_path / 'step.py'} {tmp_path}"
    job = subprocess.run([*batch, wrapped], env=environment, capture_output=True, text=True, check=True).stdout.strip()
    state = facts_of(job)
    while state["JobState"] in ("PENDING", "RUNNING", "COMPLETING"):
        time.sleep(1)
        state = facts_of(job)
    assert state["JobState"] == "COMPLETED", (tmp_path / "out").read_text()[-3000:]
    assert state["NumNodes"] == "2"
    index = CheckpointIndex.read(tmp_path / "m" / "checkpoints.json")
    assert [one.name for one in index.checkpoints] == [f"step-{step:06d}" for step in (0, 2, 4, 6)]
    load_lslm(tmp_path / "m" / "step-000006", tmp_path / "study" / "backbone", merge=False)
    assert "process 0: " in (tmp_path / "train.log").read_text()


def facts_of(job):
    """What SLURM says of a job."""
    shown = subprocess.run(["scontrol", "show", "job", "--oneliner", job], capture_output=True, text=True, check=True)
    return dict(word.split("=", 1) for word in shown.stdout.split() if "=" in word)
