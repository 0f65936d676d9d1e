"""Makes the training prompts: questions, multiple-choice questions and sentences to repeat, none of the benchmark.

Paper section 3 trains on spoken instructions with written answers; here both come from the data sets of `sources`, or
the answers from the base model (training stage). Two prompts are the same if their normalised words are equal; the
question part and the repeated sentence count as well as the whole prompt. What is nearly the same as a question of the
benchmark (`near_duplicates`) is left out too.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.benchmark.filters import NOT_DRAWN, FilterReport, Speakable, filter_candidates
from workflow_scripts.benchmark.layouts import REPEAT_PREFIX
from workflow_scripts.benchmark.near_duplicates import NearDuplicates
from workflow_scripts.benchmark.prompt_sources import scorer_of, source_candidates
from workflow_scripts.scoring.text_normalisation import normalise_words
from workflow_scripts.settings.config import INSTRUCTIONS
from workflow_scripts.settings.training import InstructionSettings, PromptSource

logger = logging.getLogger(__name__)

IN_BENCHMARK, NEARLY = "in the benchmark", "in the benchmark in other words"
IN_EXCLUDED, IN_OTHER = "in the excluded file", "in an earlier source"
TRAIN, HELDOUT = "train", "heldout"
"""Prefixes of the ids; the prompts with `heldout` ids are for the learning curve only."""


def build_instructions(
    assets: Sequence[Path],
    benchmark: Sequence[Path],
    questions: Path,
    filters: Path,
    *,
    settings: dict[str, Any],
    seed: int,
) -> None:
    """Write the training prompts and the counts of the filters.

    Args:
        assets: asset.json of every asset that a source names; the folder's name is the asset's key.
        benchmark: questions.jsonl of every benchmark subset.
        questions, filters: files to write.
        settings: InstructionSettings as a mapping.
        seed: seed of the draw from each source and of the order.

    Raises:
        ArtifactError: a raw row is unusable, a source's asset is not among `assets`, or a source has too few prompts.
    """
    chosen = InstructionSettings.model_validate(settings)
    folders = {Path(path).parent.name: Path(path).parent for path in assets}
    asked = [question for path in benchmark for question in QUESTIONS.read(Path(path))]
    taken, nearly = benchmark_texts(asked), NearDuplicates(map(core_text, asked))
    quotas = source_quotas([source.share for source in chosen.sources], chosen.prompts + chosen.heldout)
    random = np.random.default_rng(seed)
    report, seen = FilterReport(), set()
    drawn: list[tuple[PromptSource, Speakable]] = []
    for source, quota in zip(chosen.sources, quotas):
        if source.asset not in folders:
            raise ArtifactError(
                f"training source {source.file!r}: asset {source.asset!r} is not among {sorted(folders)}"
            )
        pool = _pool(folders[source.asset], source, chosen, taken, nearly, seen, report, seed)
        if len(pool) < quota:
            raise ArtifactError(
                f"{folders[source.asset] / source.file}: {len(pool)} prompts can be used, its share needs {quota}; "
                f"lower training.instructions.prompts or the source's share ({report.summary()})"
            )
        logger.info("%s: %d of %d usable prompts drawn", source.file, quota, len(pool))
        drawn += [(source, pool[index]) for index in random.permutation(len(pool))[:quota].tolist()]
        if len(pool) > quota:
            report.drop(NOT_DRAWN, len(pool) - quota)
    order = random.permutation(len(drawn)).tolist()
    records = [_prompt(number, *drawn[index], n_train=chosen.prompts) for number, index in enumerate(order)]
    report.write(Path(filters))
    facts = provenance(chosen.model_dump(mode="json"), seed=seed, filters=dict(report.dropped))
    QUESTIONS.write(Path(questions), records, facts)


def benchmark_texts(questions: Iterable[Question]) -> set[str]:
    """Normalised texts that must not be trained on: prompt, question part and repeated sentence of each question."""
    texts: set[str] = set()
    for question in questions:
        repeated = question.prompt.removeprefix(REPEAT_PREFIX)
        texts |= {normalise_words(text) for text in (question.prompt, repeated, core_text(question))}
    return texts - {""}


def core_text(question: Question) -> str:
    """What makes it this question: without options and fixed phrases."""
    return question.prompt.removeprefix(REPEAT_PREFIX).split("\nA. ")[0]


def source_quotas(shares: Sequence[float], total: int) -> list[int]:
    """`total` split in proportion to `shares`, by largest remainder; ties go to the earlier source."""
    exact = np.asarray(shares, dtype=float) / sum(shares) * total
    quotas = np.floor(exact).astype(int)
    order = np.argsort(-(exact - quotas), kind="stable")
    quotas[order[: total - int(quotas.sum())]] += 1
    return quotas.tolist()


def _pool(
    folder: Path,
    source: PromptSource,
    settings: InstructionSettings,
    taken: set[str],
    nearly: NearDuplicates,
    seen: set[str],
    report: FilterReport,
    seed: int,
) -> list[Speakable]:
    """Usable prompts of one source in file order; adds their texts to `seen`."""
    excluded: set[str] = set()
    if source.exclude_file:
        texts = (candidate.core for candidate in source_candidates(folder / source.exclude_file, source, seed=seed))
        excluded = {normalise_words(text) for text in texts}
    candidates = source_candidates(folder / source.file, source, seed=seed)
    pool: list[Speakable] = []
    bounds = {name: getattr(source, name) or getattr(settings, name) for name in ("min_words", "max_words")}
    for speakable in filter_candidates(candidates, report, **bounds):
        core = speakable.candidate.core
        key = normalise_words(core)
        groups = ((IN_BENCHMARK, taken), (IN_EXCLUDED, excluded), (IN_OTHER, seen))
        reason = next((name for name, texts in groups if key in texts), NEARLY if core in nearly else "")
        if reason:
            report.drop(reason)
            continue
        seen.add(key)
        pool.append(speakable)
    return pool


def _prompt(number: int, source: PromptSource, speakable: Speakable, *, n_train: int) -> Question:
    split, count = (TRAIN, number + 1) if number < n_train else (HELDOUT, number + 1 - n_train)
    candidate = speakable.candidate
    filtered = {} if source.wer_filter else {"wer_filter": False}
    return Question(
        id=f"{split}-{count:05d}",
        subset=INSTRUCTIONS,
        prompt=candidate.prompt,
        spoken=speakable.spoken,
        reference=candidate.reference,
        options=candidate.options,
        scorer=scorer_of(source),
        source={"asset": source.asset, "file": source.file, "row": candidate.row, **filtered},
    )


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_instructions(
            s.input.assets,
            s.input.benchmark,
            s.output.questions,
            s.output.filters,
            settings=s.params.settings,
            seed=s.params.seed,
        ),
    )
