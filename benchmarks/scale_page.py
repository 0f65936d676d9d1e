"""The report page of studies with more and more questions: building it, its size, and how a browser loads it."""

import fcntl
import json
import os
import pickle
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from workflow_scripts.report.build_report import build_report

MAX_MB, MAX_SECONDS = 10.0, 3.0
LOADS = 3
"""Times that the page is loaded; the median counts."""
MANY = 100
"""From so many questions on the page has every figure that is drawn from tables alone, below only one."""
SAMPLES = 8
"""As in the rule."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe")


def prepare(folder: Path, n: int) -> None:
    """A made study of n questions in its six subsets; figures do not depend on n and are drawn once."""
    # Here: the process that builds the page has no need of matplotlib.
    from tests.made_results import SUBSETS, write_made_tables
    from tests.report.conftest import draw, page_arguments
    from workflow_scripts.figures.table import FIGURES

    made = write_made_tables(folder)
    names = [name for name, one in FIGURES.items() if all(Path(path).stem == key for key, path in one.inputs.items())]
    drawn = folder.parent / "figures"
    if n >= MANY and not drawn.exists():
        drawn.mkdir()
        for name in names:
            draw(name, made).rename(drawn / f"{name}.svg")
    figures = [drawn / f"{name}.svg" for name in names] if n >= MANY else [draw("monotonicity", made)]
    arguments = page_arguments(folder, made, figures, n // len(SUBSETS)) | {"samples": SAMPLES}
    (folder / "arguments").write_bytes(pickle.dumps(arguments))


def page(folder: Path, _: int) -> None:
    """As its rule builds it."""
    template = harness.ROOT / "workflow_scripts" / "report" / "report.html.j2"
    build_report(template, folder / "index.html", **pickle.loads((folder / "arguments").read_bytes()))


STEPS = {"page": page}


class Browser:
    """Headless Chromium, spoken to in its DevTools protocol through two pipes."""

    def __init__(self, program: str, profile: str) -> None:
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        # It reads from descriptor 3 and writes to 4; the copies are above both.
        reads, writes = (fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 10) for one in (theirs_in, theirs_out))
        places = [(os.POSIX_SPAWN_DUP2, reads, 3), (os.POSIX_SPAWN_DUP2, writes, 4)]
        places += [(os.POSIX_SPAWN_OPEN, one, os.devnull, os.O_WRONLY, 0) for one in (1, 2)]
        command = [program, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        self._pid = os.posix_spawn(program, command, os.environ, file_actions=places)
        for one in (theirs_in, theirs_out, reads, writes):
            os.close(one)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._number, self._rest, self._session = 0, b"", ""
        self._events: list[str] = []

    def __enter__(self) -> "Browser":
        target = self.call("Target.createTarget", apart=True, url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", apart=True, targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: Any) -> None:
        os.kill(self._pid, signal.SIGTERM)
        os.waitpid(self._pid, 0)
        self._out.close(), self._in.close()

    def call(self, method: str, apart: bool = False, **parameters: Any) -> dict[str, Any]:
        """Result of a command of the page, or with `apart` of the browser. Raises RuntimeError if it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {} if apart else {"sessionId": self._session}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._read()).get("id") != self._number:
            self._events.append(answer["method"])
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def load(self, path: Path) -> tuple[float, float]:
        """Open a page: seconds of the processor in all processes of the browser, and seconds by the clock, from the
        start of the navigation to the end of the page's event `load`."""
        before = self._processor_seconds()
        self._events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while "Page.loadEventFired" not in self._events:
            self._events.append(self._read()["method"])
        used = {number: seconds - before.get(number, 0) for number, seconds in self._processor_seconds().items()}
        script = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        shown = self.call("Runtime.evaluate", expression=script)["result"]["value"]
        return sum(used.values()), shown / 1000

    def _processor_seconds(self) -> dict[int, float]:
        """By process; a new page may get a new one."""
        found = self.call("SystemInfo.getProcessInfo", apart=True)["processInfo"]
        return {one["id"]: one["cpuTime"] for one in found}

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (more := os.read(self._in.fileno(), 1 << 20)):
                raise RuntimeError("the browser ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


def weigh(sizes: tuple[int, ...], folder: Path) -> list[harness.Ratio]:
    """Size of the pages that `page` built, and what loading them costs where there is a browser.

    The goal of loading is set on the processor's time, which other work on the machine does not change.
    """
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    pages = [folder / str(n) / "index.html" for n in sizes]
    rows = [[n, path.stat().st_size / 1e6] for n, path in zip(sizes, pages)]
    found = [harness.Ratio("scale_page_size", MAX_MB / max(row[1] for row in rows), 1.0)]
    if program is None:
        print(f"not loaded: there is none of {', '.join(BROWSERS)}")
    else:
        with tempfile.TemporaryDirectory() as profile, Browser(program, profile) as browser:
            for row, path in zip(rows, pages):
                row += map(harness.median, zip(*(browser.load(path) for _ in range(LOADS))))
        found.append(harness.Ratio("scale_page_load", MAX_SECONDS / max(row[2] for row in rows), 1.0))
    header = ["questions", "MB", "to load, processor s", "by the clock, s"]
    print(harness.table(header[: len(rows[0])], rows) + "\n", flush=True)
    return found
