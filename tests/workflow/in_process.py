"""A study in one process: `python -m tests.workflow.in_process CONFIGFILE...` in a copy of the workflow.

Every job that Snakemake plans for `all` is run by its own script with its own inputs and params, one after the other.
A tiny study's time goes into starting a process per job and importing torch there; here that happens once. What only
Snakemake itself does (scheduling, temporary files, records) is tests/workflow/test_end_to_end.py's part.
"""

import sys

from snakemake.settings.types import DAGSettings

from workflow_scripts.step import planned_jobs

if __name__ == "__main__":
    planned = planned_jobs(DAGSettings(targets={"all"}, rerun_triggers=frozenset()), sys.argv[1:])
    for job in {id(job): job for job in planned.values() if job.script is not None}.values():
        job.run()
