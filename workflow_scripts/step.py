"""One step by hand: the job that makes a file, with `snakemake` as its rule gives it, in this Python process.

    python -m workflow_scripts.step results/evaluation/gap.csv [--configfile studies/quick.yaml]

starts a Python session with the names of the step's module and `snakemake`; `--run` runs the step and ends,
`--print` shows the job. In a notebook, `job_of("results/...")` returns the job. Nothing is deleted, locked or recorded.

Snakemake plans the file with its public API and hands every planned job to an executor plugin. This module is such a
plugin: it only keeps the jobs. What lies beyond those two interfaces (params, wildcards and script of a job, and the
class of `snakemake`) is used in `_keep` alone; tests/workflow/test_step.py compares it with what a script really gets.
"""

import argparse
import code
import importlib
import logging
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from snakemake.api import SnakemakeApi
from snakemake.exceptions import RuleException, WorkflowError
from snakemake.iocontainers import Snakemake
from snakemake.settings.types import ConfigSettings, DAGSettings, ExecutionSettings, OutputSettings, ResourceSettings
from snakemake_interface_executor_plugins.executors.base import AbstractExecutor, SubmittedJobInfo
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import CommonSettings

PLUGIN = "session"

common_settings = CommonSettings(
    non_local_exec=False,
    dryrun_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)


@dataclass(frozen=True)
class Job:
    """A job of the workflow that has not run.

    Attributes:
        rule: its name.
        script: path of the step's file; None for a rule without one.
        snakemake: the object that the script gets: input, output, params, wildcards, threads, resources, log.
    """

    rule: str
    script: Path | None
    snakemake: Snakemake

    @property
    def module(self) -> str:
        """Dotted name of the step's module."""
        return ".".join(self.script.relative_to(Path(__file__).parents[1]).with_suffix("").parts)

    @property
    def missing(self) -> list[str]:
        """Inputs that do not exist."""
        return [path for path in self.snakemake.input if not Path(path).exists()]

    def run(self) -> None:
        """Run the step in this process; an error ends it with its message, as in the workflow.

        Raises:
            FileNotFoundError: inputs are missing.
        """
        if self.missing:
            raise FileNotFoundError(f"missing input: {' '.join(self.missing)}; make it: {_making(self.missing)}")
        for path in (*self.snakemake.output, *self.snakemake.log):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        runpy.run_path(str(self.script), init_globals={"snakemake": self.snakemake}, run_name="__main__")

    def __str__(self) -> str:
        lines = [f"rule {self.rule}: {os.path.relpath(self.script)}"]
        for name in ("input", "output", "params", "wildcards", "log"):
            values = getattr(self.snakemake, name)
            named = dict(values.items()) or dict(enumerate(values))
            lines += [f"{name}:", *(f"    {key}: {_shortened(value)}" for key, value in named.items())]
        if self.missing:
            lines.append(f"missing input: {_shortened(self.missing)}\nto make it: {_making(self.missing)}")
        return "\n".join(lines)


class Executor(AbstractExecutor):
    """Keeps the jobs that Snakemake plans, by the files that they make, and runs none."""

    jobs: ClassVar[dict[str, Job]] = {}

    def run_job(self, job: JobExecutorInterface) -> None:
        """Keep a job and report it as done."""
        _keep(job, self.jobs)
        self.report_job_submission(SubmittedJobInfo(job=job))
        self.report_job_success(SubmittedJobInfo(job=job))

    def shutdown(self) -> None:
        """Nothing is running."""

    cancel = shutdown

    def handle_job_success(self, job: JobExecutorInterface) -> None:
        """Nothing was made."""

    handle_job_error = handle_job_success


def job_of(file: str | Path, configfiles: Sequence[str | Path] = ()) -> Job:
    """The job that makes `file`.

    Args:
        file: an output of the workflow, relative to the working directory, which is the checkout.
        configfiles: further config files, as with Snakemake's --configfile.

    Raises:
        ValueError: no step makes the file, or an input that nothing makes is missing.
    """
    target = os.path.relpath(file)
    try:
        # Without triggers only missing inputs are planned beside the job itself.
        jobs = planned_jobs(DAGSettings(targets={target}, forcetargets=True, rerun_triggers=frozenset()), configfiles)
    except (WorkflowError, RuleException) as error:
        raise ValueError(f"{file}: {error}") from error
    if (job := jobs.get(target)) is None or job.script is None:
        raise ValueError(f"{file}: no step of the workflow makes it; name a file of results/ or resources/")
    return job


def planned_jobs(settings: DAGSettings, configfiles: Sequence[str | Path] = ()) -> dict[str, Job]:
    """Jobs that a run with these settings of Snakemake would start, by each of their outputs, in the order of the run.

    Raises:
        WorkflowError, RuleException: by Snakemake, as in a run.
    """
    ExecutorPluginRegistry().register_plugin(PLUGIN, sys.modules[__name__])
    Executor.jobs = {}
    with SnakemakeApi(OutputSettings(dryrun=True, log_level_override=logging.ERROR)) as api:
        workflow = api.workflow(
            resource_settings=ResourceSettings(cores=os.cpu_count()),
            config_settings=ConfigSettings(configfiles=[Path(path) for path in configfiles]),
            snakefile=Path("Snakefile"),
        )
        dag = workflow.dag(settings)
        dag.execute_workflow(executor=PLUGIN, execution_settings=ExecutionSettings(ignore_incomplete=True))
    return Executor.jobs


def _keep(job: Any, jobs: dict[str, Job]) -> None:
    """Note a planned job under each of its outputs."""
    script = Path(job.rule.basedir) / job.rule.script if job.rule.script else None
    given = Snakemake(
        job.input, job.output, job.params, job.wildcards, job.threads, job.resources, job.log, {}, job.rule.name, None
    )
    jobs.update(dict.fromkeys(job.output, Job(job.rule.name, script and script.resolve(), given)))


def _shortened(value: Any) -> str:
    """A value as text; of a long list its first three."""
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) <= 3:
        return str(value)
    return f"{', '.join(map(str, value[:3]))}, ... ({len(value)} in all)"


def _making(files: Sequence[str]) -> str:
    return f"snakemake --cores all --notemp {' '.join(files)}"


def session(job: Job) -> None:
    """A Python session (IPython where installed) with the names of the step's module, `job` and `snakemake`."""
    names = vars(importlib.import_module(job.module)) | {"job": job, "snakemake": job.snakemake}
    banner = f"{job}\n\nNames: snakemake, job (job.run() runs the step), and those of {job.module}"
    try:
        from IPython import start_ipython
    except ImportError:
        code.interact(banner=banner, local=names, exitmsg="")
    else:
        print(banner)
        start_ipython(argv=["--no-banner"], user_ns=names)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.step", description="Run one step by hand.")
    parser.add_argument("file", help="an output file of the workflow")
    parser.add_argument("--configfile", nargs="+", default=[], help="as for snakemake")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--run", action="store_true", help="run the step in this process and end")
    how.add_argument("--print", action="store_true", help="show the job and end")
    given = parser.parse_args(arguments)
    try:
        job = job_of(given.file, given.configfile)
        if given.print:
            print(job)
        elif given.run:
            job.run()
        else:
            session(job)
    except (ValueError, FileNotFoundError) as error:
        parser.exit(1, f"{error}\n")


if __name__ == "__main__":
    main()
