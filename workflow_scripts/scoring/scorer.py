"""What a scorer is: how one answer is scored, how the scores of a subset become one number, what stands beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow_scripts.scoring.estimates import Estimate, rate_estimate, share_estimate
from workflow_scripts.scoring.intervals import Interval, exact_interval, mean_interval


@dataclass(frozen=True)
class Task:
    """What a scorer may look at besides the answer.

    Attributes:
        reference: the right letter, the accepted answers, or the sentence to repeat; empty where nothing is right.
        options: texts of the options A, B, ... of a multiple-choice question.
        prompt: as shown. instructions: ``{"id", "kwargs"}`` each (IFEval).
        nltk_data: folder that contains ``tokenizers/punkt_tab``.
        judge: `JudgeSettings` as plain values with `cache`, the folder of replies; None without a judge.
    """

    reference: Sequence[str] = ()
    options: Sequence[str] = ()
    prompt: str = ""
    instructions: Sequence[Mapping[str, Any]] = ()
    nltk_data: Path | None = None
    judge: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Score:
    """Score of one answer.

    Attributes:
        score: 0 to 1, higher is better (for refusals: safer).
        parsed: what was read from the answer; None if nothing was.
        outcome: one of the scorer's outcomes.
        rule: the rule that decided.
        unparsed: nothing could be scored; the score is 0.
        details: further numbers of the scorer, JSON types only.
    """

    score: float
    parsed: str | None
    outcome: str
    rule: str
    unparsed: bool
    details: dict[str, Any] = field(default_factory=dict)


Scores = Sequence[Score]
Estimates = dict[str, Estimate | None]


def plain_mean(scores: Scores) -> tuple[float, Interval]:
    """Mean of the scores, 0 to 1, with the exact interval for 0/1 scores, else `mean_interval`."""
    values = [score.score for score in scores]
    mean = sum(values) / len(values)
    if all(value in (0.0, 1.0) for value in values):
        return mean, exact_interval(int(sum(values)), len(values))
    return mean, mean_interval(mean, [value - mean for value in values])


def plain_sums(scores: Scores) -> list[tuple[list[float], list[float]]]:
    """The mean as one ratio of sums."""
    return [([score.score for score in scores], [1.0] * len(scores))]


def no_estimates(_: Scores) -> Estimates:
    """Nothing beside the mean."""
    return {}


def detail_estimates(*names: str) -> Callable[[Scores], Estimates]:
    """Means of `Score.details`, shares of 1, in points of 100."""
    return lambda scores: {name: share_estimate([score.details[name] for score in scores]) for name in names}


def outcome_estimates(scores: Scores, *outcomes: str) -> Estimates:
    """Shares of the outcomes named, in points of 100."""
    return {name: rate_estimate([score.outcome == name for score in scores]) for name in outcomes}


@dataclass(frozen=True)
class Scorer:
    """One way of scoring answers; `registry.SCORERS` lists all of them.

    Attributes:
        version: stored beside the scores; raise it whenever a score changes.
        layouts: `layout` of the subsets whose references it can read, besides `questions`.
        score: answer and task -> score of one answer. Raises ValueError for a task that it cannot score.
        mean: scores of a subset -> their aggregate, 0 to 1, with its 95 % interval.
        estimates: further numbers of a subset, in points of 100.
        sums: the mean as an average of ratios of sums over questions: (above, below) each, for paired intervals.
        measures: name in gap.csv, which is also that of its estimate -> value of one question, in points of 100, from
            its score (0 to 1) and details.
        closed_answers: what is read from an answer comes from a few options, so that two wrong answers can be the same.
        accepted_answers: the reference is a list of accepted short answers.
    """

    version: str
    score: Callable[[str, Task], Score]
    layouts: tuple[str, ...] = ()
    mean: Callable[[Scores], tuple[float, Interval]] = plain_mean
    estimates: Callable[[Scores], Estimates] = no_estimates
    sums: Callable[[Scores], list[tuple[list[float], list[float]]]] = plain_sums
    measures: Mapping[str, Callable[[float, Mapping[str, Any]], float]] = field(default_factory=dict)
    closed_answers: bool = False
    accepted_answers: bool = False
