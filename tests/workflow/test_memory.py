"""The default study on 8 cores and 16 GB: what runs together books no more, and what cannot fit is refused."""

import contextlib
import logging
import random
from types import SimpleNamespace

import pytest
from snakemake.scheduling.greedy import Scheduler, SchedulerSettings

from tests.workflow.workflow_copy import ROOT, Workflow
from workflow_scripts.planning.books import Books
from workflow_scripts.planning.snakemake_dag import study
from workflow_scripts.settings import ConfigError

pytestmark = pytest.mark.xdist_group("dag")
CORES, MEMORY_MB = 8, 16_000
MEASURED_MB = {
    # Peaks of the default study's jobs by Snakemake's own measurement (bfloat16, CPU, two cores; 0.10).
    "answer_questions_base": 7422,
    "answer_spoken_questions": 8071,
    "train_model": 5011,
    "convert_asset": 4827,
    "transcribe_speech": 1996,
    "encode_silence": 708,
}


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """Rule, and what is booked, of every job of the default study; and its `Books`, as on a machine with bfloat16."""
    workflow = Workflow(tmp_path_factory.mktemp("default"), config=ROOT / "config.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Books, "number", 2)
        patch.setattr("shutil.which", lambda name: None)
        with (
            contextlib.chdir(workflow.folder),
            study(workflow.folder / "Snakefile", cores=CORES, memory_mb=MEMORY_MB) as (plan, jobs),
        ):
            return [(job.rule, job.books()) for job in jobs], plan.books


def test_every_job_books_cores_and_memory_that_are_there(planned):
    jobs, books = planned
    assert len(jobs) > 120
    for rule, booked in jobs:
        assert 1 <= booked["_cores"] <= CORES and 50 <= booked["mem_mb"] <= MEMORY_MB, (rule, booked)
    # Snakemake cuts a job's books down to the limit, so this is asked for what was booked before.
    assert 8_000 < books.largest[0] < MEMORY_MB * 9 // 10, "nine tenths are the profile's limit on such a machine"
    books.require_fit(MEMORY_MB * 9 // 10)


@pytest.mark.parametrize("seed", range(3))
def test_jobs_that_snakemake_starts_together_never_book_more_than_there_is(planned, seed):
    """Snakemake's own selection, from any ready jobs, while others end in any order."""
    draw = random.Random(seed)
    scheduler = Scheduler(None, SchedulerSettings(), logging.getLogger(__name__))
    waiting = [
        SimpleNamespace(scheduler_resources=booked, priority=0, input=[], rule=rule) for rule, booked in planned[0]
    ]
    draw.shuffle(waiting)
    running, most = [], 0

    def booked(name):
        return sum(job.scheduler_resources[name] for job in running)

    together = set()
    while waiting or running:
        free = {"_cores": CORES - booked("_cores"), "mem_mb": MEMORY_MB - booked("mem_mb")}
        ready = draw.sample(waiting, min(len(waiting), draw.randint(1, 40)))
        started = scheduler.select_jobs(ready, waiting, free, {}) if free["_cores"] else []
        running += started
        waiting = [job for job in waiting if job not in started]
        assert booked("mem_mb") <= MEMORY_MB and booked("_cores") <= CORES
        most = max(most, booked("mem_mb"))
        together |= {job.rule for job in running if len(running) > 1}
        running.pop(draw.randrange(len(running)))
    assert most > MEMORY_MB / 2 and len(together) > 5, "jobs did run side by side"


def test_jobs_with_a_large_model_never_run_side_by_side(planned):
    large = {rule for rule, booked in planned[0] if booked["mem_mb"] > MEMORY_MB / 2}
    assert {"answer_questions", "answer_spoken_questions", "train_model"} <= large
    assert all(booked["_cores"] == CORES for rule, booked in planned[0] if rule in large - {"train_model"})


@pytest.mark.parametrize("rule", MEASURED_MB)
def test_books_are_near_what_the_default_study_took(planned, rule):
    most = max(booked["mem_mb"] for name, booked in planned[0] if name == rule)
    if rule == "train_model":  # measured for the ear; LoRA books more
        most = min(booked["mem_mb"] for name, booked in planned[0] if name == rule)
    assert 0.95 * MEASURED_MB[rule] < most < 1.4 * MEASURED_MB[rule]


def test_a_study_that_cannot_fit_is_refused_with_the_numbers(planned):
    with pytest.raises(
        ConfigError, match=r"training \(coder-lora: 1,777 million parameters\) needs 10\.9 GB .* has 7\.2 GB"
    ):
        planned[1].require_fit(7_200)
