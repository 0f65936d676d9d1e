"""What an unfinished training keeps in `trainer/` beside its checkpoints, so that the next run goes on behind it.

```
run.json             of which run it is
log.csv              the learning curve up to the last checkpoint
checkpoint-<step>/   Trainer's state
```
"""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.artifacts.checkpoints import checkpoint_name
from workflow_scripts.artifacts.files import ArtifactError, write_text
from workflow_scripts.training.curve import LearningCurve

logger = logging.getLogger(__name__)
TRAINER = "trainer"
ENDED = ".trainer"
"""Name of the folder while it is deleted."""
LOG = "log.csv"


def discard_other_run(folder: Path, fingerprint: str) -> None:
    """Delete what a run with other settings, inputs or libraries left behind; mark the folder as this run's."""
    mark = folder / TRAINER / "run.json"
    if mark.exists() and mark.read_text(encoding="utf-8") == json.dumps({"run": fingerprint}):
        return
    for stale in [*folder.glob("step-" + "[0-9]" * 6), folder / TRAINER, folder / ENDED]:
        if stale.is_dir():
            logger.info("deleting %s: it belongs to another run", stale)
            shutil.rmtree(stale)
    write_text(mark, json.dumps({"run": fingerprint}))


def is_trained(folder: Path, steps: Sequence[int]) -> bool:
    """Whether this run was killed only when nothing was left to train: the log, written behind the checkpoint of its
    step, has the last step, and every checkpoint is there."""
    curve = LearningCurve(folder / TRAINER / LOG)
    try:
        curve.resume(steps[-1])
    except ArtifactError:
        return False
    complete = all((folder / checkpoint_name(step) / "lslm.json").exists() for step in steps)
    return complete and any(row["step"] == steps[-1] for row in curve.rows)


def last_state(folder: Path) -> Path | None:
    """The newest complete state, None if there is none.

    Trainer writes trainer_state.json last: a folder without a readable one was cut off by a kill.
    """
    for state in sorted(_states(folder), key=state_step, reverse=True):
        try:
            json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            logger.info("%s is incomplete, ignored", state)
        else:
            return state
    return None


def state_step(state: Path) -> int:
    """4 for `checkpoint-4`."""
    return int(state.name.removeprefix("checkpoint-"))


def clear(folder: Path) -> None:
    """Delete `trainer/` of a run whose outputs are in place: the states, which take long, while `is_trained` still
    says so, then all the rest at once by its name."""
    for state in _states(folder):
        shutil.rmtree(state)
    (folder / TRAINER).rename(folder / ENDED)
    shutil.rmtree(folder / ENDED)


def _states(folder: Path) -> list[Path]:
    return list((folder / TRAINER).glob("checkpoint-*"))
