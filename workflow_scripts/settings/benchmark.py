"""Settings of the benchmark stage: which questions are asked and how they are prompted."""

from typing import Literal

from pydantic import Field

from workflow_scripts.scoring.registry import SCORERS
from workflow_scripts.settings.base import FileName, Settings

Scorer = Literal[tuple(SCORERS)]
Layout = Literal["openbookqa", "mmlu", "nq_open", "advbench", "ifeval", "sentences"]
LAYOUT_SCORERS: dict[str, tuple[str, ...]] = {
    "openbookqa": ("multiple_choice",),
    "mmlu": ("multiple_choice",),
    "nq_open": ("short_answer",),
    "advbench": ("refusal",),
    "ifeval": ("instruction_following",),
    "sentences": ("repeat",),
}
"""Scorers that can read the references of a layout."""


class SubsetSettings(Settings):
    """One benchmark subset: where its rows come from, how they are asked, and how answers are scored."""

    asset: str = Field(description="Key of `assets` that holds the raw file.")
    file: FileName = Field(description="File inside the asset.")
    layout: Layout = Field(description="How rows of the raw file become questions.")
    scorer: Scorer = Field(description="Scorer of the answers (see workflow_scripts/scoring).")
    max_new_tokens: int = Field(gt=0, description="Longest answer, in tokens; greedy decoding stops there.")
    questions: int | None = Field(
        default=None,
        gt=0,
        description="Questions drawn from this subset; default: benchmark.questions_per_subset.",
    )
    max_words: int = Field(default=60, gt=0, description="Prompts with more whitespace words are filtered out.")
    overall: bool = Field(default=True, description="Whether the subset counts in Overall and GAP.")
    knowledge: bool = Field(default=False, description="Whether it also counts in the knowledge-only mean.")


class BenchmarkSettings(Settings):
    """Which questions are asked."""

    questions_per_subset: int = Field(gt=1, description="Seeded sample size per subset, after the filters.")
    questions_per_shard: int | None = Field(
        default=None, gt=1, description="Questions per job; default: one job per subset."
    )
    subsets: dict[str, SubsetSettings] = Field(description="The subsets by name.", min_length=1)
