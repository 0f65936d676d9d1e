"""All scorers: score one answer, then aggregate the scores of a subset.

| Scorer | Score of an answer (0-1) | Outcomes | Mean of a subset |
|---|---|---|---|
| multiple_choice | 1 if the right letter was chosen (else 0) | correct, wrong, unparsed, ambiguous, empty | mean |
| short_answer | 1 if a reference is contained | contained, not_contained, empty | mean |
| refusal | 1 if refused | refusal, compliance, not_heard, empty, incoherent | mean |
| instruction_following | mean of the prompt's four ratios | all, some, none, empty | mean of the four pooled ratios |
| repeat | max(0, 1 - WER) | exact, partial, missed, empty | mean |
| yes_no | 1 if the right word or letter was read (else 0) | correct, wrong, unparsed, ambiguous, empty | mean |
| judge | mean rating of a language model's votes, over 5 | judged, unparsed, empty | mean |

A new scorer is a module with a `Scorer` and one line in `SCORERS`. If its questions can be unusable, or their reference
is not the text of the right answer, it also has a line in `question_formats`.

The primary multiple-choice score counts unparsed answers as wrong; `expected` beside it gives them the chance of a
random guess, and `corrected` sets the score of a guesser to 0: (score - 1/k) / (1 - 1/k) for k options.
``unparsed`` marks answers in which nothing could be scored, for every scorer.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from workflow_scripts.scoring import (
    instruction_following,
    judge,
    multiple_choice,
    refusal,
    repeat,
    short_answer,
    yes_no,
)
from workflow_scripts.scoring.answer_turns import own_turn
from workflow_scripts.scoring.estimates import Estimate, rate_estimate
from workflow_scripts.scoring.scorer import Score, Scorer, Task

SCORERS: Mapping[str, Scorer] = {
    "multiple_choice": multiple_choice.SCORER,
    "short_answer": short_answer.SCORER,
    "refusal": refusal.SCORER,
    "instruction_following": instruction_following.SCORER,
    "repeat": repeat.SCORER,
    "yes_no": yes_no.SCORER,
    "judge": judge.SCORER,
}


@dataclass(frozen=True)
class Aggregate:
    """Scores of a subset in one number.

    Attributes:
        mean: 0 to 100.
        n: number of answers, all of them, parsed or not.
        unparsed_rate: share of answers in which nothing could be scored, 0 to 1.
        interval_low: lower end of the 95 % interval of ``mean``, 0 to 100.
        interval_high: upper end.
        method: how the interval was computed.
        estimates: further numbers with n and interval: points of 100, the unparsed rate as a share of 1.
    """

    mean: float
    n: int
    unparsed_rate: float
    interval_low: float
    interval_high: float
    method: str
    estimates: dict[str, Estimate] = field(default_factory=dict)


def find_scorer(name: str) -> Scorer:
    """The scorer of that name.

    Raises:
        ValueError: unknown scorer; names the known ones, and the one meant if a name is near.
    """
    if name not in SCORERS:
        near = difflib.get_close_matches(str(name), SCORERS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? Known" if near else "known"
        raise ValueError(f"unknown scorer {name!r}; {hint} are {', '.join(SCORERS)}")
    return SCORERS[name]


def score_answer(
    scorer: str,
    answer: str,
    reference: Sequence[str] | str,
    options: Sequence[str] = (),
    context: Mapping[str, Any] | None = None,
) -> Score:
    """Score one answer.

    Args:
        scorer: one of `SCORERS`.
        answer: the model's answer, any text; what follows the marker of another turn is no part of it.
        reference: the right letter, the accepted answers, or the sentence to repeat; a bare string stands for a list of
            one. Ignored by refusal and instruction_following.
        options: texts of the options A, B, ...; multiple_choice only.
        context: further fields of `Task` by name: ``prompt``, ``instructions``, ``nltk_data``, ``judge``.

    Raises:
        ValueError: unknown scorer, or a reference, options or context the scorer cannot use.
        TypeError: the answer is not text.
    """
    chosen = find_scorer(scorer)
    if not isinstance(answer, str):
        raise TypeError(f"an answer is text, got {type(answer).__name__}; store an empty string for no answer")
    references = [reference] if isinstance(reference, str) else list(reference)
    return chosen.score(own_turn(answer), Task(references, list(options or ()), **(context or {})))


def aggregate(scorer: str, scores: Sequence[Score]) -> Aggregate:
    """Aggregate the scores of one subset; every answer counts, parsed or not.

    Raises:
        ValueError: unknown scorer, or no scores.
    """
    chosen = find_scorer(scorer)
    if not scores:
        raise ValueError(f"scorer {scorer!r} got no scores to aggregate; score at least one answer")
    mean, interval = chosen.mean(scores)
    estimates = {"unparsed_rate": rate_estimate([score.unparsed for score in scores], 1.0)} | chosen.estimates(scores)
    return Aggregate(
        mean=100 * mean,
        n=len(scores),
        unparsed_rate=sum(score.unparsed for score in scores) / len(scores),
        interval_low=100 * interval.low,
        interval_high=100 * interval.high,
        method=interval.method,
        estimates={name: estimate for name, estimate in estimates.items() if estimate is not None},
    )
