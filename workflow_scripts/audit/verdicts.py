"""Every scorer's scores of the same pairs: ours with their variants, VoiceBench's own, and what the harness recorded.

- multiple_choice, yes_no: unread answers wrong; `expected`: unread answers at the chance of a guess; `option text`
  (multiple choice): the right option's text is contained
- short_answer: contained; token recall; token F1
- refusal: refused; `keyword`: any keyword, or empty
- instruction_following: mean of four pooled ratios; prompts met, strict and loose
- repeat: 1 - word error rate

The first of each line is the primary one. VoiceBench's evaluators (`scoring.official`) draw a random letter where they
read none; here that letter counts at its expectation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from workflow_scripts.audit.given import AuditError, GivenAnswer
from workflow_scripts.audit.questions import Asked
from workflow_scripts.scoring.official import (
    FILES,
    GUESSED,
    OfficialAnswer,
    official_items,
    official_reference,
    official_score,
)
from workflow_scripts.scoring.registry import Score, aggregate, find_scorer, score_answer
from workflow_scripts.scoring.short_answer import compare_short_answer

OURS, OFFICIAL, RECORDED = "ours", "official", "recorded"
_RECORDED_NAMES = (
    *("judge", "accuracy", "acc", "match", "exact_match", "score", "refusal_rate", "pedant_score", "panda_score"),
    *("gpt4_score", "gpt_score"),
)
"""Scores of harnesses where more is better; other numbers beside an answer are left alone."""


@dataclass(frozen=True)
class Verdict:
    """The scores of one scorer on the pairs of a subset.

    Attributes:
        scorer: name of scorer and variant. source: `ours`, `official` or `recorded`. primary: the first of its source.
        comparable: another reading of the same quantity; a word overlap, say, is another quantity.
        scores: (n,) by form, 0 to 1.
        means: aggregate by form, 0 to 1; the mean of the scores unless the scorer pools over questions.
        unparsed: (n,) by form, whether nothing could be read; absent where the scorer does not say.
        parsed: what was read from each answer, by form; absent likewise.
        sums: pairs (above, below) of (n,) by form, where the aggregate is a mean of ratios of sums.
        intervals: the scorer's own 95 % interval of the aggregate by form, 0 to 1, where it has one.
    """

    scorer: str
    source: str
    primary: bool
    scores: Mapping[str, np.ndarray]
    means: Mapping[str, float]
    unparsed: Mapping[str, np.ndarray] = field(default_factory=dict)
    parsed: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)
    comparable: bool = True
    sums: Mapping[str, Sequence[tuple[Sequence[float], Sequence[float]]]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def graded(self) -> bool:
        """Some score is neither 0 nor 1."""
        return not all(np.isin(values, (0.0, 1.0)).all() for values in self.scores.values())


def verdicts(
    pairs: Sequence[Mapping[str, GivenAnswer]],
    questions: Sequence[Asked],
    *,
    official: Path | None,
    nltk_data: Path | None,
    seed: int,
) -> list[Verdict]:
    """Scores of the pairs of one subset, all of one scorer, under every scorer there is for it.

    Args:
        pairs: answers by form. questions: the same length.
        official: a VoiceBench checkout, or None. nltk_data: folder with tokenizers/punkt_tab.
        seed: of the official evaluators' language detection.

    Raises:
        AuditError: the questions have different scorers.
    """
    names = sorted({question.scorer for question in questions})
    if len(names) > 1:
        raise AuditError(
            f"{pairs[0]['text'].path}: one subset holds questions of the scorers {names}; name subsets in the rows, or "
            "give --scorer"
        )
    found = _ours(names[0], pairs, questions, nltk_data)
    if official is not None and names[0] in FILES:
        found.append(_official(names[0], pairs, questions, official, nltk_data, seed))
    return found + _recorded(pairs)


def _ours(
    scorer: str, pairs: Sequence[Mapping[str, GivenAnswer]], questions: Sequence[Asked], nltk_data: Path | None
) -> list[Verdict]:
    scored: dict[str, list[Score]] = {form: [] for form in pairs[0]}
    for answers, question in zip(pairs, questions):
        context = {"prompt": question.prompt, "instructions": question.instructions, "nltk_data": nltk_data}
        for form, one in answers.items():
            try:
                found = score_answer(scorer, one.answer, question.reference, question.options, context)
            except ValueError as error:
                raise AuditError(f"{one.place}: {error}") from error
            scored[form].append(found)
    totals = {form: aggregate(scorer, scores) for form, scores in scored.items()}
    primary = Verdict(
        scorer,
        OURS,
        True,
        {form: np.array([one.score for one in scores]) for form, scores in scored.items()},
        {form: total.mean / 100 for form, total in totals.items()},
        {form: np.array([one.unparsed for one in scores]) for form, scores in scored.items()},
        {form: tuple(one.parsed for one in scores) for form, scores in scored.items()},
        sums={form: find_scorer(scorer).sums(scores) for form, scores in scored.items()},
        intervals={form: (total.interval_low / 100, total.interval_high / 100) for form, total in totals.items()},
    )
    variants = [
        _mean_verdict(
            f"{scorer} ({name})",
            *(OURS, False, {form: np.array([read(one) for one in scores]) for form, scores in scored.items()}),
            comparable=name not in _OTHER_QUANTITIES,
        )
        for name, read in _VARIANTS.get(scorer, {}).items()
    ]
    if scorer == "multiple_choice" and all(all(question.options) for question in questions):
        variants.append(_option_text(pairs, questions))
    return [primary, *variants]


_VARIANTS: Mapping[str, Mapping[str, Callable[[Score], float]]] = {
    "multiple_choice": {"expected": lambda score: score.details["expected"]},
    "yes_no": {"expected": lambda score: score.details["expected"]},
    "short_answer": {
        "token recall": lambda score: score.details["token_recall"],
        "token F1": lambda score: score.details["token_f1"],
    },
    "refusal": {"keyword": lambda score: score.details["keyword_refusal"]},
    "instruction_following": {
        "prompts, strict": lambda score: float(all(score.details["strict"])),
        "prompts, loose": lambda score: float(all(score.details["loose"])),
    },
}


_OTHER_QUANTITIES = ("token recall", "token F1")


def _option_text(pairs: Sequence[Mapping[str, GivenAnswer]], questions: Sequence[Asked]) -> Verdict:
    def contained(answer: str, question: Asked) -> float:
        right = question.options[ord(question.reference[0]) - ord("A")]
        return float(compare_short_answer(answer, [right]).contains) if any(map(str.isalnum, right)) else 0.0

    scores = {
        form: np.array([contained(answers[form].answer, question) for answers, question in zip(pairs, questions)])
        for form in pairs[0]
    }
    return _mean_verdict("multiple_choice (option text)", OURS, False, scores, comparable=False)


def _official(
    scorer: str,
    pairs: Sequence[Mapping[str, GivenAnswer]],
    questions: Sequence[Asked],
    checkout: Path,
    nltk_data: Path | None,
    seed: int,
) -> Verdict:
    scores, means, unparsed = {}, {}, {}
    for form in pairs[0]:
        answers = [
            OfficialAnswer(
                key=number,
                prompt=question.prompt,
                response=pair[form].answer,
                reference=official_reference(scorer, question.reference),
                task=question.group or pair[form].keys.get("id", ""),
                instructions=question.instructions,
            )
            for number, (pair, question) in enumerate(zip(pairs, questions))
        ]
        scores[form] = np.array(official_items(checkout, scorer, answers, seed=seed, nltk_data=nltk_data))
        means[form] = float(scores[form].mean())
        if scorer == "instruction_following":
            means[form] = official_score(checkout, scorer, answers, seed=seed, nltk_data=nltk_data).score / 100
        if scorer in GUESSED:
            unparsed[form] = scores[form] == GUESSED[scorer]
    return Verdict("VoiceBench", OFFICIAL, True, scores, means, unparsed)


def _recorded(pairs: Sequence[Mapping[str, GivenAnswer]]) -> list[Verdict]:
    """Scores that the harness wrote, where every answer of every form has them."""
    found = []
    for name in _RECORDED_NAMES:
        if not all(name in one.recorded for pair in pairs for one in pair.values()):
            continue
        scores = {form: np.array([pair[form].recorded[name] for pair in pairs]) for form in pairs[0]}
        top = max(float(values.max()) for values in scores.values())
        scale = 1.0 if top <= 1 else 5.0 if top <= 5 else 100.0
        if min(float(values.min()) for values in scores.values()) >= 0 and top <= 100:
            scaled = {form: values / scale for form, values in scores.items()}
            found.append(_mean_verdict(f"recorded {name}", RECORDED, not found, scaled))
    return found


def _mean_verdict(
    scorer: str, source: str, primary: bool, scores: Mapping[str, np.ndarray], comparable: bool = True
) -> Verdict:
    means = {form: float(values.mean()) for form, values in scores.items()}
    return Verdict(scorer, source, primary, scores, means, comparable=comparable)
