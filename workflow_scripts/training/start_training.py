"""Training of one model, by one process or by several that this step starts.

Several (`processes` of the model's entry) are started by torchrun on this machine. A site that spreads them over
machines, or prefers accelerate, names its own launcher in MODGAP_LAUNCHER, for example

    accelerate launch --num_processes {processes}

`{processes}` and `{host}`, the name of this machine, are filled in; `-m workflow_scripts.training.train_processes` and
the job's file come behind it. How they are started decides no number and is therefore no key of the config.
"""

import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.training.train_model import train_model
from workflow_scripts.training.train_processes import HELD_BY_STEP, write_job

logger = logging.getLogger(__name__)
LAUNCHER = "MODGAP_LAUNCHER"
PROGRAM = "workflow_scripts.training.train_processes"
ROOT = Path(__file__).resolve().parents[2]


def start_training(arguments: Mapping[str, Any], processes: int, log: Path | None) -> None:
    """Run `train_model(**arguments)` in this process, or in `processes` others and wait for them.

    Args:
        log: file that the first of several processes appends to.

    Raises:
        ArtifactError: a process of several failed; they have logged why.
    """
    if processes == 1:
        train_model(**arguments)
        return
    folder = Path(arguments["checkpoints"]).parent
    folder.mkdir(parents=True, exist_ok=True)
    job = folder / "job.json"
    write_job(job, log, dict(arguments))
    command = [*launcher(processes, os.environ), "-m", PROGRAM, str(job)]
    logger.info("starting %d processes: %s", processes, shlex.join(command))
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    try:
        code = run_and_pass_on_the_end(command, os.environ | {"PYTHONPATH": os.pathsep.join(paths)})
    finally:
        job.unlink(missing_ok=True)
    if code != 0:
        raise ArtifactError(
            f"training by {processes} processes ended with code {code}; the cause stands in {log or 'their output'}, "
            "finished checkpoints are kept"
        )


def run_and_pass_on_the_end(command: list[str], environment: Mapping[str, str]) -> int:
    """Run a command and give its exit code; a request to end this process ends the command first.

    If either is killed, the pipe that is the command's standard input is closed, on which training processes end.
    """
    held = {**environment, HELD_BY_STEP: "1"}
    with subprocess.Popen(command, env=held, stdin=subprocess.PIPE) as process:
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


def launcher(processes: int, environment: Mapping[str, str]) -> list[str]:
    """The launcher's words, from the environment or torchrun on this machine alone.

    Raises:
        ArtifactError: the site's own launcher is not a command line.
    """
    own = environment.get(LAUNCHER)
    if not own:
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return [*torchrun, "--nproc-per-node", str(processes)]
    try:
        words = shlex.split(own)
    except ValueError as error:
        raise ArtifactError(f"{LAUNCHER}={own!r} is not a command line ({error})") from None
    filled = {"{processes}": str(processes), "{host}": socket.gethostname()}
    for name, value in filled.items():
        words = [word.replace(name, value) for word in words]
    return words


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: start_training(
            {name: Path(s.input[name]) for name in ("questions", "manifest", "answers")}
            | {name: Path(s.input[name]).parent for name in ("backbone", "encoder")}
            | {name: Path(str(s.input[name])) if s.input[name] else None for name in ("features", "warmup")}
            | {name: Path(s.output[name]) for name in ("checkpoints", "curve")}
            | {name: s.params[name] for name in ("name", "model", "recipe", "system_prompt")}
            | {"window_seconds": s.params.get("window_seconds")},
            s.params.model["processes"],
            Path(str(s.log[0])),
        ),
    )
