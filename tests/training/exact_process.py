"""One of two processes that train in float32 whatever the machine multiplies, so that runs can be compared closely.

Started by torchrun with the folder that holds the job files, sorted by name:

    *-own.json      each process gets a results folder of its own, which shows what it writes
    *-killed.json   ends in step 6 as by a kill
"""

import os
import sys
from pathlib import Path

import torch
import torch.distributed

from workflow_scripts.training import initial_model, train_model
from workflow_scripts.training.train_processes import read_job
from workflow_scripts.training.trainer import LSLMTrainer

compute = LSLMTrainer.compute_loss


def killed_in_step_six(self, *arguments, **options):
    if self.state.global_step == 5:
        raise KeyboardInterrupt
    return compute(self, *arguments, **options)


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for module in (initial_model, train_model):
        module.multiplies_bfloat16 = lambda device: False
    for path in sorted(folder.glob("*.json")):
        _, arguments = read_job(path)
        if path.stem.endswith("-own"):
            for name in ("checkpoints", "curve"):
                own = arguments[name].parent / f"process-{os.environ['RANK']}"
                own.mkdir(parents=True, exist_ok=True)
                arguments[name] = own / arguments[name].name
        LSLMTrainer.compute_loss = killed_in_step_six if path.stem.endswith("-killed") else compute
        try:
            train_model.train_model(**arguments)
        except KeyboardInterrupt:
            assert path.stem.endswith("-killed")
        torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
