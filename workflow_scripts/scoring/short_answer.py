"""Short free answers against one or several accepted references (paper §4, SD-QA; the rules are ours).

Answer and reference are normalised the SQuAD way (case, punctuation, articles) after the word normalisation of
`text_normalisation`, so "the 2nd" equals "second" and "twenty" equals "20". Three measures, best reference each:

- ``contains``, the score: the reference's tokens occur in the answer, in order and next to each other, as written or
  without possessive endings and with Roman numerals and ordinals as numbers ("Henry VIII", "Henry the Eighth's").
  Matching whole tokens keeps "ten" out of "often", the known trap of substring tests.
- ``token_f1``: harmonic mean of token precision and recall. It punishes long answers.
- ``token_recall``: share of the reference's tokens found in the answer. It does not.

None of these is PEDANT, the scorer behind VoiceBench's SD-QA column. A sentence that names the reference only to deny
it counts as containing it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.scorer import Score, Scorer, Task, detail_estimates
from workflow_scripts.scoring.text_normalisation import normalise_words

_ARTICLES = frozenset({"a", "an", "the"})
_POSSESSIVE = re.compile(r"(?<=\w)['’]s?(?!\w)")
_ROMAN = re.compile(r"\b(?=[IVX]{2})X{0,3}(?:IX|IV|V?I{0,3})\b|(?<=[a-z] )[VX]\b(?! ?[A-Z]\.)")
"""II to XXXIX, and V and X behind a word as in "Charles V"; never a lone I."""
_ORDINAL = re.compile(r"^(\d+)(?:st|nd|rd|th)$")


@dataclass(frozen=True)
class ShortAnswer:
    """How an answer agrees with the accepted references.

    Attributes:
        contains: some reference is contained at token boundaries.
        matched: the first reference contained, as given; None without one.
        token_f1: highest token F1 over the references, 0 to 1.
        token_recall: highest share of a reference's tokens found, 0 to 1.
        empty: the answer has no tokens after normalisation.
    """

    contains: bool
    matched: str | None
    token_f1: float
    token_recall: float
    empty: bool


def answer_tokens(text: str) -> list[str]:
    """Tokens of ``text`` after word normalisation, without the articles a, an, the."""
    return [word for word in normalise_words(text).split() if word not in _ARTICLES]


def check_references(references: Sequence[str]) -> None:
    """Refuse references that no answer can be compared with; call it when questions are loaded.

    Raises:
        ValueError: there is no reference, or one normalises to nothing ("A", "The", "?!"). Such a reference would match
            every answer under a substring rule and no answer under ours.
    """
    if isinstance(references, str) or not references:
        raise ValueError(f"references must be a non-empty list of strings, got {references!r}")
    for reference in references:
        if not answer_tokens(reference):
            raise ValueError(
                f"the reference {reference!r} has no tokens after normalisation, so nothing can match it; "
                "remove it from the question or write it out"
            )


def _plain_forms(text: str) -> str:
    """The text without possessive endings, with Roman numerals and ordinals as numbers: "Henry VIII's", "Henry 8"."""
    text = _ROMAN.sub(lambda match: f" {_roman(match[0])} ", _POSSESSIVE.sub("", text))
    words = normalise_words(text).split()
    return " ".join(_ORDINAL.sub(r"\1", word) for word in words)


def _has_other_forms(reference: str) -> bool:
    """Possessives, Roman numerals, and ordinals behind a name; a bare number is not "16th"."""
    words = answer_tokens(reference)
    ordinal = len(words) > 1 and any(map(_ORDINAL.match, words))
    return ordinal or bool(_POSSESSIVE.search(reference) or _ROMAN.search(reference))


def _roman(numeral: str) -> int:
    values = [{"I": 1, "V": 5, "X": 10}[letter] for letter in numeral]
    return sum(-one if one < following else one for one, following in zip(values, [*values[1:], 0]))


def _contains(answer: list[str], reference: list[str]) -> bool:
    # Tokens hold no spaces, so padding with spaces turns a token match into a fast string search.
    return bool(reference) and f" {' '.join(reference)} " in f" {' '.join(answer)} "


def _f1_and_recall(answer: list[str], reference: list[str]) -> tuple[float, float]:
    shared = sum((Counter(answer) & Counter(reference)).values())
    if not shared:
        return 0.0, 0.0
    return 2 * shared / (len(answer) + len(reference)), shared / len(reference)


def compare_short_answer(answer: str, references: Sequence[str]) -> ShortAnswer:
    """Compare an answer with every accepted reference; a reference without tokens never matches.

    Raises:
        ValueError: there is no reference, or none has tokens after normalisation.
    """
    if isinstance(references, str) or not references:
        raise ValueError(f"references must be a non-empty list of strings, got {references!r}")
    tokens = answer_tokens(answer)
    usable = [
        (reference, reference_tokens) for reference in references if (reference_tokens := answer_tokens(reference))
    ]
    if not usable:
        check_references(references)
    measures = [_f1_and_recall(tokens, reference_tokens) for _, reference_tokens in usable]
    forms = answer_tokens(_plain_forms(answer))
    bare = answer_tokens(_POSSESSIVE.sub("", answer))
    matched = next(
        (
            reference
            for reference, reference_tokens in usable
            if _contains(tokens, reference_tokens)
            or _contains(bare, reference_tokens)
            or (_has_other_forms(reference) and _contains(forms, answer_tokens(_plain_forms(reference))))
        ),
        None,
    )
    return ShortAnswer(
        contains=matched is not None,
        matched=matched,
        token_f1=max(f1 for f1, _ in measures),
        token_recall=max(recall for _, recall in measures),
        empty=not tokens,
    )


def score_short_answer(answer: str, task: Task) -> Score:
    """1 if an accepted answer is contained."""
    compared = compare_short_answer(answer, task.reference)
    outcome = "empty" if compared.empty else "contained" if compared.contains else "not_contained"
    details = {"token_f1": compared.token_f1, "token_recall": compared.token_recall}
    return Score(float(compared.contains), compared.matched, outcome, "contains", compared.empty, details)


SCORER = Scorer(
    version="3",
    score=score_short_answer,
    layouts=("nq_open", "voicebench"),
    estimates=detail_estimates("token_f1", "token_recall"),
    accepted_answers=True,
)
