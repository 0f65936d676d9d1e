"""Draw one figure of the table by its function's name, and write it as PDF, SVG and PNG.

The function is imported by name, so that a step depends on the code of its own figure only.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from workflow_scripts.artifacts.tables import TABLES, read_table
from workflow_scripts.figures.style import STYLE, save


def plot(
    function: str,
    inputs: Mapping[str, Path | Sequence[Path]],
    files: Mapping[str, Path],
    display: Mapping[str, Any] | None = None,
) -> None:
    """Write a figure.

    Args:
        function: `module:function` of this package.
        inputs: paths by the name of the function's argument. Tables, which are called as in `artifacts.tables`, are
            read, of other files the path is passed on; of several files, such as training logs, the argument is a
            mapping by the name of their folders, the models.
        files: path by format, `pdf`, `svg` and `png`.
        display: DisplaySettings as plain values, for functions that take them.
    """
    given = {name: _read(name, path) for name, path in inputs.items()}
    save(draw(function, **given, **({} if display is None else {"display": display})), files)


def draw(function: str, **arguments: Any) -> Figure:
    """The figure that a function of this package draws from its arguments, in the style of all figures."""
    module, _, name = function.partition(":")
    with plt.rc_context(STYLE):
        # Not `__package__`: a script that Snakemake runs has none.
        return getattr(importlib.import_module(f"workflow_scripts.figures.{module}"), name)(**arguments)


def _read(name: str, path: Path | Sequence[Path]) -> Any:
    if not isinstance(path, str | Path):
        return {Path(part).parent.name: _read(name, part) for part in path}
    return read_table(Path(path), name) if name in TABLES else Path(path)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: plot(s.params.draw, dict(s.input.items()), dict(s.output.items()), s.params.display),
    )
