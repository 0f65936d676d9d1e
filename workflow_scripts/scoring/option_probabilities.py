"""Multiple choice without a parser: which option does the model find most likely as the beginning of its answer? (ours)

Letters: p(A), p(B), ... as the first thing said, normalised over the letters. Texts: p of each option's wording, per
character of the wording (its logarithm divided by the length, as a long text is never likely), normalised over the
options. The margin is how far the right option leads the best wrong one, in natural logarithms: of probabilities for
letters, of probability per character for texts. An option leads only if no other is as likely, so a tie is no choice.

The mass outside the letters tells how far the letters are from what the model would say by itself: near 1 it begins its
answer in another way and the letters mean little. "A" is also an article, so p(A) includes answers that begin with it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.estimates import Estimate, mean_estimate, rate_estimate, share_estimate
from workflow_scripts.scoring.option_lists import LETTERS

NAME = "option_probabilities"
VERSION = "1"


@dataclass(frozen=True)
class OptionScore:
    """Reading of one question.

    Attributes:
        letter: letter with the highest probability; None on a tie.
        letter_correct: it is the right one.
        letter_log_prob: ln of the right letter's probability, normalised over the letters.
        letter_margin: ln p(right) - ln p(best wrong).
        outside_mass: probability of beginning with none of the letters, 0 to 1.
        option: letter of the option whose text has the highest probability per character; None on a tie.
        option_correct, option_log_prob, option_margin: the same for texts.
    """

    letter: str | None
    letter_correct: bool
    letter_log_prob: float
    letter_margin: float
    outside_mass: float
    option: str | None
    option_correct: bool
    option_log_prob: float
    option_margin: float


def read_options(
    letters: Sequence[float], texts: Sequence[float], options: Sequence[str], reference: str
) -> OptionScore:
    """Read the option probabilities of one question.

    Args:
        letters, texts: (k,) ln p of each option's letter and text, not normalised.
        options: the option texts, k of them.
        reference: the right letter.

    Raises:
        ValueError: the numbers do not fit the options, are not finite or above 0, or the reference is no option.
    """
    known = LETTERS[: len(options)]
    if len(reference) != 1 or reference not in known:
        raise ValueError(f"the right option {reference!r} is none of {known!r}")
    for name, values in (("letters", letters), ("texts", texts)):
        if len(values) != len(options):
            raise ValueError(f"{len(values)} {name} for {len(options)} options; answer the question again")
        if not all(math.isfinite(value) and value <= 1e-3 for value in values):
            raise ValueError(f"{name} {list(values)!r} are no logarithms of probabilities; answer the question again")
    right = known.index(reference)
    by_letter = _reading(letters, right)
    by_text = _reading([value / len(text.strip()) for value, text in zip(texts, options)], right)
    outside = max(0.0, 1.0 - math.fsum(math.exp(value) for value in letters))
    named = [None if first is None else known[first] for first, _, _ in (by_letter, by_text)]
    return OptionScore(
        letter=named[0],
        letter_correct=named[0] == reference,
        letter_log_prob=by_letter[1],
        letter_margin=by_letter[2],
        outside_mass=outside,
        option=named[1],
        option_correct=named[1] == reference,
        option_log_prob=by_text[1],
        option_margin=by_text[2],
    )


def _reading(values: Sequence[float], right: int) -> tuple[int | None, float, float]:
    """Place of the single highest value, ln of the right one's share, and its lead over the best other one."""
    highest = max(values)
    places = [place for place, value in enumerate(values) if value == highest]
    total = highest + math.log(math.fsum(math.exp(value - highest) for value in values))
    others = [value for place, value in enumerate(values) if place != right]
    margin = values[right] - max(others) if others else 0.0
    return (places[0] if len(places) == 1 else None), values[right] - total, margin


def option_estimates(scores: Sequence[OptionScore]) -> dict[str, Estimate]:
    """Aggregates: accuracies in points of 100, logarithms in nats, the outside mass as a share; {} without scores."""
    if not scores:
        return {}
    rates = {name: [getattr(one, name) for one in scores] for name in ("letter_correct", "option_correct")}
    found = {
        "letter_accuracy": rate_estimate(rates["letter_correct"]),
        "option_accuracy": rate_estimate(rates["option_correct"]),
    }
    found["outside_mass"] = share_estimate([one.outside_mass for one in scores], 1.0)
    for name in ("letter_margin", "letter_log_prob", "option_margin", "option_log_prob"):
        found[name] = mean_estimate([getattr(one, name) for one in scores])
    return found
