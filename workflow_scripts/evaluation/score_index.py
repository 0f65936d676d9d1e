"""The score files of a study by model, checkpoint, subset and form, with their questions in one order."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.scores import ScoreFile

FORMS = ("text", "speech", "asr")
BASE = "base"
"""Checkpoint name of an untuned backbone."""


@dataclass(frozen=True)
class FormScores:
    """Scores of one form, questions sorted by id.

    Attributes:
        mean, low, high: the aggregate and its 95 % interval, 0 to 100.
        scores: (n,), 0 to 100.
        unparsed: share of answers without a parsed answer, 0 to 1.
        nll, tokens: (n,), cost of the reference answer in nats and its tokens; NaN and 0 where there is none.
        secondary: further aggregates of the scorer.
    """

    path: Path
    scorer: str
    ids: tuple[str, ...]
    mean: float
    low: float
    high: float
    scores: np.ndarray
    unparsed: float
    nll_per_token: float | None
    nll: np.ndarray
    tokens: np.ndarray
    secondary: dict[str, float]


Subsets = dict[str, dict[str, FormScores]]
"""subset -> form -> scores"""


def read_scores(paths: Iterable[Path]) -> dict[tuple[str, str], Subsets]:
    """Score files by (model, checkpoint), whatever the order of the paths.

    Raises:
        ArtifactError: two files hold the same scores, or forms, checkpoints or models differ in the questions of a
            subset; names both files and the first ids.
    """
    found: dict[tuple[str, str], Subsets] = defaultdict(lambda: defaultdict(dict))
    first: dict[str, FormScores] = {}
    for path in sorted(paths):
        file = ScoreFile.read(path)
        scores = _form_scores(path, file)
        forms = found[file.model, file.checkpoint][file.subset]
        if file.form in forms:
            raise ArtifactError(f"{path}: the same model, checkpoint, subset and form as {forms[file.form].path}")
        forms[file.form] = scores
        other = first.setdefault(file.subset, scores)
        if scores.ids != other.ids:
            odd = sorted(set(scores.ids) ^ set(other.ids))[:5]
            raise ArtifactError(
                f"{path}: other questions than {other.path}, such as {odd}; comparisons are paired, so score both "
                "from answers to the same questions"
            )
    return {key: {subset: dict(forms) for subset, forms in subsets.items()} for key, subsets in found.items()}


def step_of(checkpoint: str) -> int | None:
    """Training step of `step-000400`; None for `base` and `final`."""
    match = re.fullmatch(r"step-(\d+)", checkpoint)
    return int(match[1]) if match else None


def _form_scores(path: Path, file: ScoreFile) -> FormScores:
    rows = sorted(file.questions, key=lambda row: row.id)
    if len(rows) != file.n:
        raise ArtifactError(f"{path}: {len(rows)} question scores but n = {file.n}; delete it and run again")
    if not rows:
        raise ArtifactError(f"{path}: no questions; all were dropped by the speech stage, see its manifest.jsonl")
    if file.form not in FORMS:
        raise ArtifactError(f"{path}: form {file.form!r} is none of {', '.join(FORMS)}")
    return FormScores(
        path=path,
        scorer=file.scorer,
        ids=tuple(row.id for row in rows),
        mean=file.mean,
        low=file.interval_low,
        high=file.interval_high,
        scores=100 * np.array([row.score for row in rows]),
        unparsed=file.unparsed_rate,
        nll_per_token=file.nll_per_token,
        nll=np.array([np.nan if row.reference_nll is None else row.reference_nll for row in rows]),
        tokens=np.array([row.reference_tokens for row in rows], dtype=np.float64),
        secondary=dict(file.secondary),
    )
