"""The jobs of a study as Snakemake sees them: the only place that reads what Snakemake keeps to itself.

Its command line tells neither the params that a result was made with nor, for a job behind others that run, why it
would run anyway. Private: `WorkflowApi._workflow` and, of that, `dag`, `persistence`, `rules` and `globals` (Snakemake
9.25 to 9.27).
"""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRIGGERS = ("input", "mtime", "params", "software-env")


@dataclass(frozen=True)
class Job:
    """A job of the study.

    Attributes:
        wildcards: attributes and `items()`.
        runs: whether a run would start it; `reason` says why, in Snakemake's words.
        params: values now, by name; `code` is a text.
        recorded: `repr` of the params that its outputs were made with; None if there is no record.
        code: what `Plan.code` gave the rule; None for a rule without.
        books: what it books when it is asked: `mem_mb`, `_cores` and others.
    """

    rule: str
    wildcards: Any
    runs: bool
    reason: str
    params: dict[str, Any]
    recorded: frozenset[str] | None
    code: Callable[[Any], str] | None
    books: Callable[[], dict[str, int]]


@contextlib.contextmanager
def study(
    snakefile: Path, configfiles: Sequence[Path] = (), *, cores: int = 1, memory_mb: int | None = None
) -> Iterator[tuple[Any, list[Job]]]:
    """The `Plan` and the jobs of a workflow in the present folder; nothing is run or written.

    Args:
        cores, memory_mb: what all jobs together may book; no limit of memory if None.

    Raises:
        RuntimeError: this version of Snakemake keeps its jobs elsewhere; names what is missing.
    """
    from snakemake.api import SnakemakeApi
    from snakemake.settings.enums import Quietness, RerunTrigger
    from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

    limits = {} if memory_mb is None else {"mem_mb": memory_mb}
    triggers = frozenset(RerunTrigger.parse_choice(name) for name in TRIGGERS)
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow_api = api.workflow(
            resource_settings=ResourceSettings(cores=cores, resources=limits),
            config_settings=ConfigSettings(configfiles=list(configfiles)),
            snakefile=snakefile,
        )
        dag_api = workflow_api.dag(DAGSettings(targets={"all"}, rerun_triggers=triggers))
        with contextlib.redirect_stdout(io.StringIO()):
            dag_api.summary()
        try:
            workflow = workflow_api._workflow
            plan = workflow.globals["plan"]
            order = {rule.name: place for place, rule in enumerate(workflow.rules)}
            found = sorted(workflow.dag.jobs, key=lambda job: (order[job.rule.name], str(job.output)))
            jobs = [_job(job, workflow) for job in found if job.rule.name != "all"]
        except AttributeError as error:
            raise RuntimeError(
                f"this version of Snakemake keeps its jobs elsewhere ({error}); `make all` works as before, but what "
                f"reruns and why cannot be told until {Path(__file__).name} is adapted"
            ) from error
        yield plan, jobs


def state_resources(workflow: Any) -> None:
    """Evaluate the resource functions of every job that will run: Snakemake asks for them job by job, as they start."""
    for job in workflow.dag.needrun_jobs():
        _ = job.resources


def _job(job: Any, workflow: Any) -> Job:
    records = [workflow.persistence.params(file) for file in job.output]
    known = [frozenset(record) for record in records if record is not None]
    return Job(
        rule=job.rule.name,
        wildcards=job.wildcards,
        runs=workflow.dag.needrun(job),
        reason=str(workflow.dag.reason(job)),
        params=dict(job.params.items()),
        recorded=frozenset.union(*known) if known else None,
        code=dict(job.rule.params.items()).get("code"),
        books=lambda: {name: value for name, value in job.resources.items() if isinstance(value, int)},
    )
