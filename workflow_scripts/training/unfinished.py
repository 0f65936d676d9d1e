"""What an unfinished training keeps in `trainer/` beside its checkpoints, so that the next run goes on behind it.

```
run.json             of which run it is
log.csv              the learning curve up to the last checkpoint
checkpoint-<step>/   Trainer's state and, over its files, checksums.json
```
"""

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.artifacts.checkpoints import checkpoint_name
from workflow_scripts.artifacts.files import ArtifactError, sha256_file, write_text
from workflow_scripts.training.curve import LearningCurve

logger = logging.getLogger(__name__)
TRAINER = "trainer"
ENDED = ".trainer"
"""Name of the folder while it is deleted."""
LOG, CHECKSUMS = "log.csv", "checksums.json"


def discard_unfit(folder: Path, fingerprint: str, steps: Sequence[int]) -> None:
    """Delete what the run of this fingerprint cannot go on from: another run's files, and damaged states."""
    discard_other_run(folder, fingerprint)
    if not is_trained(folder, steps):
        discard_damaged(folder)


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


def write_checksums(state: Path) -> None:
    """Note the content of a state's files. A crash of the machine can leave files that are whole by name and size."""
    sums = {path.name: sha256_file(path) for path in sorted(state.iterdir())}
    write_text(state / CHECKSUMS, json.dumps(sums))


def discard_damaged(folder: Path) -> None:
    """Delete the states that were cut off by a kill or are damaged: the run goes on without them."""
    for state in _states(folder):
        if (problem := _problem(state)) is not None:
            logger.warning("deleting %s: %s; the run goes on from an older state, or from its start", state, problem)
            shutil.rmtree(state)


def last_state(folder: Path) -> Path | None:
    """The newest state, None if there is none."""
    return max(_states(folder), key=state_step, default=None)


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


def _problem(state: Path) -> str | None:
    """Why a run cannot go on from a state; None if it can."""
    try:
        sums = json.loads((state / CHECKSUMS).read_text(encoding="utf-8"))
        json.loads((state / "trainer_state.json").read_text(encoding="utf-8"))  # written last, by Trainer
    except (OSError, ValueError):
        return "it is incomplete"
    wrong = [name for name, sha256 in sums.items() if not _is(state / name, sha256)]
    if wrong:
        return f"{', '.join(wrong)} damaged"
    try:
        LearningCurve(state.parent / LOG).resume(state_step(state))
    except ArtifactError as error:
        return f"its log is of no use ({error})"
    return None


def _is(path: Path, sha256: str) -> bool:
    return path.is_file() and sha256_file(path) == sha256
