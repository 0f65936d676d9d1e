"""Settings of the benchmark stage: which questions are asked and how they are prompted."""

import re
from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.scoring.registry import SCORERS
from workflow_scripts.settings.base import FileName, Settings

Scorer = Literal[tuple(SCORERS)]
Layout = Literal["openbookqa", "mmlu", "nq_open", "advbench", "ifeval", "sentences", "voicebench", "questions"]
VOICEBENCH_SPLITS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("advbench", "ifeval", "openbookqa", "bbh"), ("test",)),
    **dict.fromkeys(("alpacaeval", "alpacaeval_full", "commoneval", "wildvoice"), ("test",)),
    "mmsu": (
        *("law", "engineering", "other", "biology", "business", "economics", "health", "philosophy", "psychology"),
        *("history", "chemistry", "physics"),
    ),
    "sd-qa": ("aus", "gbr", "ind_n", "ind_s", "irl", "kenya", "nga", "nzl", "phl", "usa", "zaf"),
}
"""Splits of the configs of VoiceBench with single turns; those of sd-qa are regions, those of mmsu domains."""


class SubsetSettings(Settings):
    """One benchmark subset: where its rows come from, how they are asked, and how answers are scored."""

    asset: str = Field(description="Key of `assets` that holds the raw file.")
    file: FileName = Field(
        description="File inside the asset; layouts voicebench and questions take a pattern too, `mmsu/*.parquet`."
    )
    layout: Layout = Field(description="How rows of the raw file become questions.")
    scorer: Scorer = Field(description="Scorer of the answers (see workflow_scripts/scoring).")
    max_new_tokens: int = Field(gt=0, description="Longest answer, in tokens; greedy decoding stops there.")
    questions: int | None = Field(
        default=None,
        gt=0,
        description="Questions drawn from this subset; default: benchmark.questions_per_subset.",
    )
    rows: int | None = Field(default=None, gt=0, description="Rows the raw data must have; another number is an error.")
    split: str | None = Field(default=None, description="Only rows whose field `split` is this (layout questions).")
    voice: str | None = Field(
        default=None, description="Key of `speech.voices` that speaks this subset; default: speech.voice."
    )
    max_words: int = Field(default=60, gt=0, description="Prompts with more whitespace words are filtered out.")
    overall: bool = Field(default=True, description="Whether the subset counts in Overall and GAP.")
    knowledge: bool = Field(default=False, description="Whether it also counts in the knowledge-only mean.")
    floors: bool = Field(
        default=True, description="Whether it is also asked unheard, where `evaluation.floors` has that done."
    )
    note: str = Field(default="", description="How it differs from the paper's subset; printed on the report page.")

    @model_validator(mode="after")
    def _names_a_split(self) -> "SubsetSettings":
        if self.layout != "voicebench":
            return self
        config, _, name = self.file.rpartition("/")
        splits = VOICEBENCH_SPLITS.get(config.rpartition("/")[2])
        if splits is None:
            raise ValueError(
                f"file {self.file!r}: the folder must be one of {', '.join(VOICEBENCH_SPLITS)}, as in "
                "`sd-qa/usa-*.parquet`"
            )
        split = re.match(r"([A-Za-z_]+|\*)(?:-.*)?\.parquet$", name)
        if split is None or split[1] not in (*splits, "*"):
            raise ValueError(
                f"file {self.file!r}: {name!r} is no split of {config!r}; it has {', '.join(splits)}, as in "
                f"`{config}/{splits[-1]}-*.parquet`, or all: `{config}/*.parquet`"
            )
        return self


class BenchmarkSettings(Settings):
    """Which questions are asked."""

    questions_per_subset: int = Field(gt=1, description="Seeded sample size per subset, after the filters.")
    questions_per_shard: int | None = Field(
        default=None, gt=1, description="Questions per job; default: one job per subset."
    )
    subsets: dict[str, SubsetSettings] = Field(description="The subsets by name.", min_length=1)
