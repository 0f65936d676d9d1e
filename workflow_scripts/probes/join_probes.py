"""probes.csv: the rows of all runs (`probes.probe_states`)."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workflow_scripts.artifacts.tables import read_table, write_table


def join_probes(tables: Sequence[Path], table: Path) -> None:
    """Write the rows of all `tables`, in their order."""
    write_table(table, pd.concat([read_table(path, "probes") for path in tables], ignore_index=True), "probes")


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: join_probes([Path(path) for path in s.input.tables], Path(s.output.table)),
    )
