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
from workflow_scripts.benchmark.filters import NOT_DRAWN, UNSCORABLE, FilterReport, Speakable, filter_candidates
from workflow_scripts.benchmark.layouts import read_candidates
from workflow_scripts.scoring.question_formats import check_question
from workflow_scripts.settings.benchmark import SubsetSettings

logger = logging.getLogger(__name__)
MAX_UNSCORABLE_SHARE = 0.02
"""If more of the drawn questions have nothing to score, scorer and layout do not fit, and the step stops."""


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
        ArtifactError: a raw row is unusable, the subset's scorer cannot score more than `MAX_UNSCORABLE_SHARE` of the
            drawn questions, or fewer than `n` questions pass the filters.
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
    records, unscorable = draw([_question(one, subset, chosen) for one in speakable], n, seed)
    if len(records) < n or len(unscorable) > MAX_UNSCORABLE_SHARE * n:
        row, problem = next(iter(unscorable.items()))
        raise ArtifactError(f"{raw}, row {row}: {problem}; check benchmark.subsets.{subset}.scorer against its layout")
    for row, problem in unscorable.items():
        logger.warning("%s, row %d is left out: %s", raw, row, problem)
        report.drop(UNSCORABLE)
    if rest := len(speakable) - n - len(unscorable):
        report.drop(NOT_DRAWN, rest)
    report.write(Path(filters))
    facts = provenance(chosen.model_dump(mode="json"), subset=subset, n=n, seed=seed, filters=dict(report.dropped))
    QUESTIONS.write(Path(questions), records, facts)


def chosen_rows(raw: Path, candidates: Sequence[Candidate], subset: str, settings: SubsetSettings) -> list[Candidate]:
    """The rows of the subset's split, if it has one.

    Raises:
        ArtifactError: no rows, no such split, another number of rows than `rows`, or two rows with one id.
    """
    if not candidates:
        raise ArtifactError(f"{raw}: has no rows; write a question a row, or fetch the asset again if it had some")
    chosen = [one for one in candidates if settings.split is None or one.split == settings.split]
    if not chosen:
        splits = sorted({one.split for one in candidates})
        raise ArtifactError(f"{raw}: no row has the split {settings.split!r} of subset {subset!r}; there are {splits}")
    if settings.rows is not None and len(chosen) != settings.rows:
        raise ArtifactError(
            f"{raw}: {len(chosen)} rows, benchmark.subsets.{subset}.rows says {settings.rows}; fetch the asset again, "
            "or correct the number if this is another version"
        )
    seen: dict[str, int] = {}
    for one in chosen:
        name = _id(one, subset)
        if name in seen:
            raise ArtifactError(
                f"{raw}, row {one.row}: id {name!r} is that of row {seen[name]} too; give each row another (a row "
                "without one is called by subset and row number)"
            )
        seen[name] = one.row
    return chosen


def draw(candidates: list[Question], n: int, seed: int) -> tuple[list[Question], dict[int, str]]:
    """`n` seeded questions in the order of the candidates, and what is wrong with those drawn that cannot be scored.

    Another question is drawn in the place of each of these (row -> problem); there are fewer than `n` if none is left.
    """
    random = np.random.default_rng(seed)
    first = random.choice(len(candidates), size=n, replace=False)
    later = random.permutation(np.setdiff1d(np.arange(len(candidates)), first))
    drawn: list[int] = []
    unscorable: dict[int, str] = {}
    for index in [*first.tolist(), *later.tolist()]:
        if len(drawn) == n:
            break
        question = candidates[index]
        try:
            check_question(question.scorer, question.reference, question.options, question.instructions)
        except ValueError as error:
            unscorable[question.source["row"]] = str(error)
        else:
            drawn.append(index)
    return [candidates[index] for index in sorted(drawn)], unscorable


def _id(candidate: Candidate, subset: str) -> str:
    """The row's own id, or one of subset and row number."""
    return candidate.id or f"{subset.replace('.', '-')}-{candidate.row:04d}"


def _question(speakable: Speakable, subset: str, settings: SubsetSettings) -> Question:
    candidate = speakable.candidate
    return Question(
        id=_id(candidate, subset),
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
