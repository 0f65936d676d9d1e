"""Kinds of questions that a rule can see: what its words hold, how long it is spoken, how well it is recognised (ours).

The rules are simple, so that anybody can check a tag by reading the question; they miss some and take some too many.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.artifacts.utterances import Utterance
from workflow_scripts.measures.word_kinds import has_number, name_runs

NEGATION, NUMBER, ENTITIES = "negation", "number", "several entities"
THIRDS = ("short speech", "middle speech", "long speech")
WER_BINS = {"WER 0": 0.0, "WER up to 0.1": 0.1, "WER above 0.1": float("inf")}
"""Upper ends of the bins of a transcript's word error rate."""
SKILL = "skill: {}"

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nor|neither|nobody|nothing|nowhere|without|except|cannot)\b|n['’]t\b", re.IGNORECASE
)


def word_tags(question: Question) -> list[str]:
    """Tags by the words.

    negation: a word of negation (not, n't, no, never, none, without, except, ...) in what is spoken, options included.
    number: a digit in the prompt, or a number word from two on in what is spoken ("one" is mostly a pronoun).
    several entities: two different names at least. A name is a run of capitalised words, without the first word of a
    sentence, line or option; prompts in lower case have none.
    """
    tags = [NEGATION] if _NEGATION.search(question.spoken) else []
    tags += [NUMBER] if has_number(question.prompt) or has_number(question.spoken) else []
    return tags + ([ENTITIES] if len(names(question.prompt)) >= 2 else [])


def names(text: str) -> set[str]:
    """The different names in a text (`measures.word_kinds.name_runs`)."""
    return {" ".join(text[start:end] for start, end in run) for run in name_runs(text)}


def speech_tags(utterances: Iterable[Utterance]) -> dict[str, list[str]]:
    """Tags of the spoken questions of a subset by id: the third of its lengths in seconds, and the transcript's WER.

    Equal lengths are in one third: a question is short if at most a third of all are shorter than or as long as it, and
    long if at least two thirds are shorter. What was not transcribed has no WER.
    """
    kept = [one for one in utterances if one.kept]
    seconds = sorted(one.seconds for one in kept)
    return {one.id: [_third(one.seconds, seconds), *_bin(one.wer)] for one in kept}


def _third(length: float, ordered: list[float]) -> str:
    shorter, as_short, n = bisect_left(ordered, length), bisect_right(ordered, length), len(ordered)
    return THIRDS[0] if 3 * as_short <= n else THIRDS[2] if 3 * shorter >= 2 * n else THIRDS[1]


def _bin(wer: float | None) -> list[str]:
    return [] if wer is None else [next(name for name, end in WER_BINS.items() if wer <= end)]


def skill_tags(question: Question) -> list[str]:
    """The skill that the data name, if any."""
    return [SKILL.format(skill)] if (skill := question.source.get("skill")) else []


def in_order(tags: Iterable[Iterable[str]]) -> list[str]:
    """All tags that occur: words, length, WER, then skills by name."""
    found = {tag for some in tags for tag in some}
    known = [tag for tag in (NEGATION, NUMBER, ENTITIES, *THIRDS, *WER_BINS) if tag in found]
    return known + sorted(found - set(known))


def all_tags(questions: Iterable[Question], utterances: Iterable[Utterance]) -> Mapping[str, list[str]]:
    """Tags of the questions of a subset, by id."""
    spoken = speech_tags(utterances)
    return {one.id: [*word_tags(one), *spoken.get(one.id, []), *skill_tags(one)] for one in questions}
