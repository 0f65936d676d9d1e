"""One of the processes that train a model together; they are started by torchrun, accelerate or a launcher like these.

    torchrun --standalone --nproc-per-node 2 -m workflow_scripts.training.train_processes job.json

job.json holds the arguments of `train_model` (paths as text) and the log that the first process writes, the others only
their warnings and errors. Rank and number of processes come from the launcher's environment variables.

Processes that the training step has started end with it: their standard input is a pipe that it holds, and that nothing
is written to. One started by hand may have any other, or none.
"""

import json
import logging
import os
import stat
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from workflow_scripts.artifacts.processes import end_once_closed
from workflow_scripts.training.train_model import train_model

logger = logging.getLogger(__name__)
PATHS = ("questions", "manifest", "features", "answers", "backbone", "encoder", "warmup", "checkpoints", "curve")
HELD_BY_STEP = "MODGAP_STDIN_HELD_BY_STEP"
"""Set in the environment of processes whose standard input the step holds."""


def write_job(path: Path, log: Path | None, arguments: dict[str, Any]) -> None:
    """Write job.json."""
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()}
    path.write_text(json.dumps({"log": None if log is None else str(log), "arguments": plain}), encoding="utf-8")


def read_job(path: Path) -> tuple[Path | None, dict[str, Any]]:
    """Log and arguments of `write_job`."""
    job = json.loads(path.read_text(encoding="utf-8"))
    arguments = job["arguments"]
    for name in PATHS:
        arguments[name] = None if arguments.get(name) is None else Path(arguments[name])
    return None if job["log"] is None else Path(job["log"]), arguments


def main(job: Path) -> None:
    """Train as one process of several."""
    # Some launchers pass their standard input on to some processes only; the others have /dev/null, which is closed.
    if HELD_BY_STEP in os.environ and stat.S_ISFIFO(os.fstat(0).st_mode):
        end_once_closed(0)
    log, arguments = read_job(job)
    rank = int(os.environ.get("RANK", "0"))
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log is not None:
        handlers.append(logging.FileHandler(log, mode="a", encoding="utf-8"))
    logging.basicConfig(
        level=logging.INFO if rank == 0 else logging.WARNING,
        handlers=handlers,
        format=f"%(asctime)s %(levelname)s process {rank}: %(message)s",
        force=True,
    )
    local_rank, n_gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if 0 < n_gpus <= local_rank:
        sys.exit(f"this machine shows {n_gpus} GPU(s), too few for process {local_rank}; book one GPU per process")
    try:
        train_model(**arguments)
    except Exception as error:
        logger.exception("training failed")
        sys.exit(f"process {rank}: {type(error).__name__}: {error}")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
