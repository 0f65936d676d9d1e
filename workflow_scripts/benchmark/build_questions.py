"""Makes one benchmark subset: raw rows -> prompts -> filters -> a seeded sample, with the count each filter drops.

Prompts are VoiceBench's (paper section 4): the multiple-choice instruction is part of the prompt, all else is the bare
question. What is spoken is spoken_text(prompt). Ids are subset and raw row: neither sample size nor seed matters.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.benchmark.candidates import Candidate
from workflow_scripts.benchmark.filters import NOT_DRAWN, FilterReport, Speakable, filter_candidates
from workflow_scripts.benchmark.layouts import read_candidates
from workflow_scripts.scoring.question_formats import check_question
from workflow_scripts.settings.benchmark import SubsetSettings

logger = logging.getLogger(__name__)


def build_questions(
    asset: Path, questions: Path, filters: Path, *, subset: str, settings: dict[str, Any], n: int, seed: int
) -> None:
    """Write questions.jsonl and filters.csv of one subset.

    Args:
        asset: the raw data's asset.json; the raw file lies beside it.
        questions, filters: files to write.
        subset: key of the subset.
        settings: its SubsetSettings as a mapping.
        n: questions to draw from those that pass the filters.
        seed: seed of the draw.

    Raises:
        ArtifactError: a raw row is unusable, the subset's scorer cannot score a drawn question, or fewer than `n`
            questions pass the filters.
    """
    chosen = SubsetSettings.model_validate(settings)
    raw = Path(asset).parent / chosen.file
    report = FilterReport()
    candidates = chosen_rows(raw, read_candidates(raw, chosen.layout), subset, chosen)
    speakable = filter_candidates(candidates, report, max_words=chosen.max_words)
    if len(speakable) < n:
        raise ArtifactError(
            f"{raw}: {len(speakable)} of {report.total} questions pass the filters of subset {subset!r}, {n} are asked "
            f"for ({report.summary()}); lower benchmark.subsets.{subset}.questions or raise its max_words"
        )
    logger.info("%s: %d of %d rows pass the filters (%s)", subset, len(speakable), report.total, report.summary())
    drawn = np.sort(np.random.default_rng(seed).choice(len(speakable), size=n, replace=False))
    records = [_question(speakable[index], subset, chosen) for index in drawn.tolist()]
    for record in records:
        try:
            check_question(record.scorer, record.reference, record.options, record.instructions)
        except ValueError as error:
            raise ArtifactError(
                f"{raw}, row {record.source['row']}: {error}; check benchmark.subsets.{subset}.scorer against its "
                "layout"
            ) from None
    if len(speakable) > n:
        report.drop(NOT_DRAWN, len(speakable) - n)
    report.write(Path(filters))
    facts = provenance(chosen.model_dump(mode="json"), subset=subset, n=n, seed=seed, filters=dict(report.dropped))
    QUESTIONS.write(Path(questions), records, facts)


def chosen_rows(raw: Path, candidates: Sequence[Candidate], subset: str, settings: SubsetSettings) -> list[Candidate]:
    """The rows of the subset's split, if it has one.

    Raises:
        ArtifactError: no such split, another number of rows than `rows`, or two rows with one id.
    """
    chosen = [one for one in candidates if settings.split is None or one.split == settings.split]
    if not chosen:
        splits = sorted({one.split for one in candidates}) or "no rows"
        raise ArtifactError(f"{raw}: no row has the split {settings.split!r} of subset {subset!r}; there are {splits}")
    if settings.rows is not None and len(chosen) != settings.rows:
        raise ArtifactError(
            f"{raw}: {len(chosen)} rows, benchmark.subsets.{subset}.rows says {settings.rows}; fetch the asset again, "
            "or correct the number if this is another version"
        )
    seen: dict[str, int] = {}
    for one in chosen:
        if one.id and one.id in seen:
            raise ArtifactError(f"{raw}, row {one.row}: id {one.id!r} is that of row {seen[one.id]} too")
        seen[one.id] = one.row
    return chosen


def _question(speakable: Speakable, subset: str, settings: SubsetSettings) -> Question:
    candidate = speakable.candidate
    return Question(
        id=candidate.id or f"{subset.replace('.', '-')}-{candidate.row:04d}",
        subset=subset,
        prompt=candidate.prompt,
        spoken=speakable.spoken,
        reference=candidate.reference,
        options=candidate.options,
        instructions=candidate.instructions,
        scorer=settings.scorer,
        source={"asset": settings.asset, "file": settings.file, "row": candidate.row} | _further_facts(candidate),
    )


def _further_facts(candidate: Candidate) -> dict[str, Any]:
    """What the layout knows of a row beside its text, where it knows it."""
    names = ("audio", "skill", "speaker", "split")
    return {name: value for name in names if (value := getattr(candidate, name))}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_questions(
            s.input.asset,
            s.output.questions,
            s.output.filters,
            subset=s.params.subset,
            settings=s.params.settings,
            n=s.params.n,
            seed=s.params.seed,
        ),
    )
