"""The report page of studies with more and more questions: building it, its size, and how a browser loads it."""

import fcntl
import json
import os
import pickle
import shutil
import subprocess
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
        copies = [fcntl.fcntl(one, fcntl.F_DUPFD, 10) for one in (theirs_in, theirs_out)]
        options = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        command = f'exec "$0" {options} --user-data-dir="$1" about:blank 3<&{copies[0]} 4>&{copies[1]}'
        self._process = subprocess.Popen(
            ["sh", "-c", command, program, profile],
            pass_fds=copies,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for one in (theirs_in, theirs_out, *copies):
            os.close(one)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._number, self._rest, self._session = 0, b"", None

    def __enter__(self) -> "Browser":
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait()
        self._out.close(), self._in.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Result of a command. Raises RuntimeError if it fails."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {} if self._session is None else {"sessionId": self._session}
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._read()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def seconds_to_load(self, path: Path) -> float:
        """From the start of the navigation to the end of the page's event `load`."""
        self.call("Page.navigate", url=path.resolve().as_uri())
        while self._read().get("method") != "Page.loadEventFired":
            pass
        script = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        return self.call("Runtime.evaluate", expression=script)["result"]["value"] / 1000

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not (more := os.read(self._in.fileno(), 1 << 20)):
                raise RuntimeError("the browser ended")
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


def weigh(sizes: tuple[int, ...], folder: Path) -> list[harness.Ratio]:
    """Size of the pages that `page` built, and how long they take to load where there is a browser."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    pages = [folder / str(n) / "index.html" for n in sizes]
    rows = [[n, path.stat().st_size / 1e6] for n, path in zip(sizes, pages)]
    found = [harness.Ratio("scale_page_size", MAX_MB / max(row[1] for row in rows), 1.0)]
    if program is None:
        print(f"not loaded: there is none of {', '.join(BROWSERS)}")
    else:
        with tempfile.TemporaryDirectory() as profile, Browser(program, profile) as browser:
            for row, path in zip(rows, pages):
                row.append(harness.median([browser.seconds_to_load(path) for _ in range(LOADS)]))
        found.append(harness.Ratio("scale_page_load", MAX_SECONDS / max(row[2] for row in rows), 1.0))
    print(harness.table(["questions", "MB", "seconds to load"][: len(rows[0])], rows) + "\n", flush=True)
    return found
