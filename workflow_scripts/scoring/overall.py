"""Overall, GAP and the decline decomposition, on plain mappings from subset to score (paper §4, §8).

Overall is the unweighted mean over subsets. GAP is text minus speech, in points of the same 0-100 scale. All functions
are exact in the number type they are given: Decimals stay Decimals.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

KNOWLEDGE_SUBSETS = frozenset({"obqa", "mmsu", "mmlu", "sd_qa", "nq"})
"""Subsets that ask for facts: the paper's OBQA, MMSU and SD-QA, and the stand-ins of the last two."""


@dataclass(frozen=True)
class Gap:
    """Text minus speech, in points.

    Attributes:
        overall: difference of the two Overall scores, equal to the mean of ``by_subset``.
        by_subset: difference per subset.
        knowledge: the same over knowledge subsets only; None if there is none.
    """

    overall: float
    by_subset: dict[str, float]
    knowledge: float | None


@dataclass(frozen=True)
class Decline:
    """Where the points between an untuned text model and a tuned speech model go.

    ``total = erosion + asr_loss + modality_loss`` along the path base text -> tuned text -> tuned ASR -> tuned speech.
    A part whose reference was not measured is None.

    Attributes:
        total: base on reference text - tuned on speech.
        erosion: base on reference text - tuned on reference text: what fine-tuning cost.
        asr_loss: tuned on reference text - tuned on ASR text: what misheard words cost the tuned model.
        modality_loss: tuned on ASR text - tuned on speech: what is left for the modality itself.
        gap: tuned on reference text - tuned on speech, the paper's GAP (asr_loss + modality_loss).
        asr_loss_base: base on reference text - base on ASR text.
        erosion_asr: base on ASR text - tuned on ASR text: erosion measured on recognised text.
        paper_damage: base on ASR text - tuned on reference text. This is what the paper's 8.79 equals; it mixes
            erosion with the (negative) ASR loss of the base model.
        paper_total: base on ASR text - tuned on speech (paper_damage + gap), the paper's "25 points".
    """

    total: float | None
    erosion: float | None
    asr_loss: float | None
    modality_loss: float | None
    gap: float
    asr_loss_base: float | None
    erosion_asr: float | None
    paper_damage: float | None
    paper_total: float | None


def overall(scores: Mapping[str, float]) -> float:
    """Unweighted mean of the scores (0-100) by subset.

    Raises:
        ValueError: no subset, or a score that is not a finite number from 0 to 100.
    """
    if not scores:
        raise ValueError("Overall needs the score of at least one subset, got none")
    for subset, score in scores.items():
        if not math.isfinite(score) or not 0 <= score <= 100:
            raise ValueError(f"the score of subset {subset!r} is {score!r}; expected a number from 0 to 100")
    return sum(scores.values()) / len(scores)


def knowledge_only(scores: Mapping[str, float], knowledge: Collection[str] = KNOWLEDGE_SUBSETS) -> float | None:
    """Overall over the subsets named in ``knowledge``; None if none of them was scored."""
    chosen = {subset: score for subset, score in scores.items() if subset in knowledge}
    return overall(chosen) if chosen else None


def _check_same_subsets(first_name: str, first: Mapping[str, float], name: str, other: Mapping[str, float]) -> None:
    if set(first) != set(other):
        only_first, only_other = sorted(set(first) - set(other)), sorted(set(other) - set(first))
        raise ValueError(
            f"{first_name} and {name} cover different subsets (only {first_name}: {only_first}, only {name}: "
            f"{only_other}); their means are not comparable, score the missing subsets or drop them from both"
        )


def gap(text: Mapping[str, float], speech: Mapping[str, float], knowledge: Collection[str] = KNOWLEDGE_SUBSETS) -> Gap:
    """The modality gap of one model from its scores on text and on speech, by subset.

    Raises:
        ValueError: the two cover different subsets, or a score is out of range.
    """
    _check_same_subsets("text", text, "speech", speech)
    text_knowledge, speech_knowledge = knowledge_only(text, knowledge), knowledge_only(speech, knowledge)
    return Gap(
        overall=overall(text) - overall(speech),
        by_subset={subset: text[subset] - speech[subset] for subset in text},
        knowledge=None if text_knowledge is None else text_knowledge - speech_knowledge,
    )


def decline(
    *,
    tuned_text: Mapping[str, float],
    tuned_speech: Mapping[str, float],
    base_text: Mapping[str, float] | None = None,
    base_asr: Mapping[str, float] | None = None,
    tuned_asr: Mapping[str, float] | None = None,
) -> Decline:
    """Decompose the decline from an untuned text model to a tuned speech model (paper §8, with all four references).

    Args:
        tuned_text: tuned model on the reference text, score by subset.
        tuned_speech: tuned model on speech.
        base_text: untuned model on the reference text.
        base_asr: untuned model on the recogniser's transcript, the paper's "pipeline".
        tuned_asr: tuned model on the recogniser's transcript.

    Raises:
        ValueError: two references cover different subsets, or a score is out of range.
    """
    given = {
        "tuned_speech": tuned_speech,
        "base_text": base_text,
        "base_asr": base_asr,
        "tuned_asr": tuned_asr,
    }
    for name, scores in given.items():
        if scores is not None:
            _check_same_subsets("tuned_text", tuned_text, name, scores)
    mean = {name: None if scores is None else overall(scores) for name, scores in given.items()}
    mean["tuned_text"] = overall(tuned_text)

    def difference(higher: str, lower: str) -> float | None:
        if mean[higher] is None or mean[lower] is None:
            return None
        return mean[higher] - mean[lower]

    return Decline(
        total=difference("base_text", "tuned_speech"),
        erosion=difference("base_text", "tuned_text"),
        asr_loss=difference("tuned_text", "tuned_asr"),
        modality_loss=difference("tuned_asr", "tuned_speech"),
        gap=mean["tuned_text"] - mean["tuned_speech"],
        asr_loss_base=difference("base_text", "base_asr"),
        erosion_asr=difference("base_asr", "tuned_asr"),
        paper_damage=difference("base_asr", "tuned_text"),
        paper_total=difference("base_asr", "tuned_speech"),
    )
