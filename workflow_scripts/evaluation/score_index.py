"""The score files of a study by model, checkpoint, subset and form, with their questions in one order."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts.answers import FORMS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.scores import OptionScoreRecord, QuestionScore, ScoreFile
from workflow_scripts.scoring.answer_traits import NAMES
from workflow_scripts.scoring.registry import find_scorer
from workflow_scripts.scoring.scorer import Scorer
from workflow_scripts.statistics.means import POINTS, Mean, of_ratios, of_scores

FLOORS = ("silence", "other")
"""Forms in which nothing of the question is heard; in floors.csv only."""
OPTION_MEASURES: dict[str, Callable[[OptionScoreRecord], float]] = {
    "letter_accuracy": lambda options: 100 * options.letter_correct,
    "letter_margin": lambda options: options.letter_margin,
    "option_accuracy": lambda options: 100 * options.option_correct,
    "option_margin": lambda options: options.option_margin,
    "outside_mass": lambda options: options.outside_mass,
    "letter_tied": lambda options: 100.0 * (options.letter is None),
}
"""Measures of questions with options, from the probabilities of these, without a parser."""
TRAIT_MEASURES = {f"answers_{name}": name for name in NAMES}
"""Shares of answers, in percent, that are empty, cut off, ..., whatever was asked (`scoring.answer_traits`)."""
TIED = "answers_tied"
"""Share of answers, in percent, with a token that was chosen among equally likely ones."""
RANGES: dict[str, tuple[float, float] | None] = {
    "letter_margin": None,
    "option_margin": None,
    "outside_mass": (0.0, 1.0),
}
"""Bounds of a measure of one question, None without; all others are points from 0 (corrected: less) to 100."""
BASE = "base"
"""Checkpoint name of an untuned backbone."""


@dataclass(frozen=True)
class FormScores:
    """Scores of one form, questions sorted by id.

    Attributes:
        mean, low, high: the aggregate and its 95 % interval, 0 to 100.
        scores: (n,), 0 to 100.
        sums: the aggregate as an average of ratios of sums, (above, below) of (n,) each.
        unparsed: share of answers without a parsed answer, 0 to 1.
        nll, tokens: (n,), cost of the reference answer in nats and its tokens; NaN and 0 where there is none.
        chance: mean score of a guesser, 0 to 100; NaN where the scorer has no chance level.
        measures: (n,) per measure of the scorer and of `OPTION_MEASURES`, NaN for questions that have none.
        intervals: 95 % interval of the mean of each measure, from the score file.
        parsed: (n,) what was read from each answer, None where nothing was.
    """

    path: Path
    scorer: str
    ids: tuple[str, ...]
    mean: float
    low: float
    high: float
    scores: np.ndarray
    sums: list[tuple[np.ndarray, np.ndarray]]
    unparsed: float
    nll_per_token: float | None
    nll: np.ndarray
    tokens: np.ndarray
    chance: float
    measures: dict[str, np.ndarray]
    intervals: dict[str, tuple[float, float]]
    parsed: tuple[str | None, ...]


Subsets = dict[str, dict[str, FormScores]]
"""subset -> form -> scores"""


def read_scores(paths: Iterable[Path]) -> dict[tuple[str, str], Subsets]:
    """Score files by (model, checkpoint), whatever the order of the paths.

    Raises:
        ArtifactError: a file's name says another form than it holds, two files hold the same scores, or forms,
            checkpoints or models differ in the questions of a subset; names both files and the first ids.
    """
    found: dict[tuple[str, str], Subsets] = defaultdict(lambda: defaultdict(dict))
    first: dict[str, FormScores] = {}
    for path in sorted(paths):
        file = ScoreFile.read(path)
        if path.name.partition(".")[0] != file.form:
            raise ArtifactError(f"{path}: holds scores of form {file.form!r}; delete it and run again")
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


def _form_scores(path: Path, file: ScoreFile) -> FormScores:
    rows = sorted(file.questions, key=lambda row: row.id)
    if len(rows) != file.n:
        raise ArtifactError(f"{path}: {len(rows)} question scores but n = {file.n}; delete it and run again")
    if not rows:
        raise ArtifactError(f"{path}: no questions; all were dropped by the speech stage, see its manifest.jsonl")
    if file.form not in (*FORMS, *FLOORS):
        raise ArtifactError(f"{path}: form {file.form!r} is none of {', '.join((*FORMS, *FLOORS))}")
    scorer = find_scorer(file.scorer)
    measures = _measures(rows, scorer)
    return FormScores(
        path=path,
        scorer=file.scorer,
        ids=tuple(row.id for row in rows),
        mean=file.mean,
        low=file.interval_low,
        high=file.interval_high,
        scores=100 * np.array([row.score for row in rows]),
        sums=[(np.array(above), np.array(below)) for above, below in scorer.sums(rows)],
        unparsed=file.unparsed_rate,
        nll_per_token=file.nll_per_token,
        nll=np.array([np.nan if row.reference_nll is None else row.reference_nll for row in rows]),
        tokens=np.array([row.reference_tokens for row in rows], dtype=np.float64),
        chance=100 * float(np.mean([row.details.get("chance", np.nan) for row in rows])),
        measures=measures,
        intervals={
            name: (np.nan if found.low is None else found.low, np.nan if found.high is None else found.high)
            for name in measures
            if (found := file.estimates.get(name)) is not None
        },
        parsed=tuple(row.parsed for row in rows),
    )


def measure_mean(one: FormScores, name: str, places: np.ndarray, own: tuple[float, float] | None = None) -> Mean:
    """The mean of a measure over the questions at `places`; `own`: its interval, where the score file has it."""
    values = one.measures[name][places]
    ends = RANGES.get(name, (min(0.0, float(values.min())), max(100.0, float(values.max()))))
    return of_scores(values, ends, own)


def score_mean(one: FormScores) -> Mean:
    """The aggregate of a form, with the interval of its score file."""
    found = of_ratios([(100 * above, below) for above, below in one.sums], POINTS, (one.low, one.high))
    return replace(found, value=one.mean)


def _measures(rows: Sequence[QuestionScore], scorer: Scorer) -> dict[str, np.ndarray]:
    found = {name: [of(row.score, row.details) for row in rows] for name, of in scorer.measures.items()}
    if any(row.options is not None for row in rows):
        for name, of in OPTION_MEASURES.items():
            found[name] = [np.nan if row.options is None else of(row.options) for row in rows]
    if all(row.traits is not None for row in rows):
        found |= {name: [100.0 * (trait in row.traits) for row in rows] for name, trait in TRAIT_MEASURES.items()}
    if all(row.ties is not None for row in rows):
        found[TIED] = [100.0 * (row.ties > 0) for row in rows]
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}
