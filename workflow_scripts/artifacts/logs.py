"""Running a step: its inputs are checked, its log goes into the rule's file; progress for a terminal and a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from workflow_scripts.artifacts.checksums import check_inputs, forget_outputs, note_outputs

T = TypeVar("T")
logger = logging.getLogger(__name__)


def run_step(snakemake: Any, step: Callable[[Any], Any]) -> None:
    """Call `step(snakemake)` with logging to the rule's log; an error is logged and ends the job.

    An error of this package names file, value and remedy, so it is logged without its traceback; any other with it.

    Inputs are checked against what was noted when they were written, and outputs are noted (artifacts.checksums). The
    last line on standard error is the bare message, so that a user sees the cause without opening the log.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if snakemake.log:
        handlers.append(logging.FileHandler(str(snakemake.log[0]), mode="w", encoding="utf-8"))
    logging.basicConfig(
        level=logging.INFO, handlers=handlers, format="%(asctime)s %(levelname)s %(message)s", force=True
    )
    for noisy in ("httpx", "httpx2", "filelock", "matplotlib", "fontTools", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    started = time.monotonic()
    try:
        check_inputs(snakemake.input)
        forget_outputs(snakemake.output)
        step(snakemake)
        note_outputs(snakemake.output)
    except Exception as error:
        foreign = not type(error).__module__.startswith(__package__.partition(".")[0])
        logger.error("step failed after %.1f s: %s", time.monotonic() - started, error, exc_info=foreign)
        sys.exit(f"{type(error).__name__}: {error}")
    logger.info("done in %.1f s", time.monotonic() - started)


def progress(items: Iterable[T], total: int, what: str, every_seconds: float = 60.0) -> Iterator[T]:
    """Yield `items`, logging count, rate and time left: once every `every_seconds` and at the end."""
    started = reported = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - reported >= every_seconds or done == total:
            rate = done / max(now - started, 1e-9)
            left = max(total - done, 0) / rate
            logger.info("%s: %d of %d, %.2f per second, %.0f s left", what, done, total, rate, left)
            reported = now
