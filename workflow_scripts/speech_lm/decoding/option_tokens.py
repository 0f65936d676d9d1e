"""The token sequences by which an answer can begin with an option's letter or text (ours)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from workflow_scripts.speech_lm.protocol import SpeechLMError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class OptionBranches:
    """Continuations of one question's prompt.

    branches: distinct token sequences. letters: (k,) per option, the branches that spell its letter; their
    probabilities add up, as no sequence begins with another. texts: (k,) per option, the branch of its text.
    reference: the branch of the reference answer, if there is one.
    """

    branches: list[list[int]]
    letters: list[list[int]]
    texts: list[int]
    reference: int | None


def option_branches(tokenizer: Any, options: Sequence[str], reference: str | None, model_name: str) -> OptionBranches:
    """Tokenise letters ("A" and " A"), option texts and the reference answer.

    Raises ValueError for more than 26 options or a text without tokens; SpeechLMError if the vocabulary cannot tell two
    letters apart.
    """
    if len(options) > len(LETTERS):
        raise ValueError(f"a question has at most {len(LETTERS)} options, got {len(options)}: {list(options)!r}")
    branches: list[list[int]] = []

    def place(ids: list[int]) -> int:
        if ids not in branches:
            branches.append(ids)
        return branches.index(ids)

    letters, owner = [], {}
    for letter in LETTERS[: len(options)]:
        spelled = _without_longer([_ids(tokenizer, letter), _ids(tokenizer, f" {letter}")])
        for ids in spelled:
            other = owner.setdefault(tuple(ids), letter)
            if other != letter:
                raise SpeechLMError(
                    f"{model_name}: the tokenizer writes the letters {other} and {letter} with the same tokens {ids}, "
                    "so option letters have no probabilities of their own; leave option log-probabilities out"
                )
        letters.append([place(ids) for ids in spelled])
    texts = []
    for option in options:
        ids = _ids(tokenizer, option.strip())
        if not ids:
            raise ValueError(f"option {option!r} has no tokens")
        texts.append(place(ids))
    if reference is None:
        return OptionBranches(branches, letters, texts, None)
    ids = _ids(tokenizer, reference)
    if not ids:
        raise ValueError(f"the reference answer {reference!r} has no tokens")
    return OptionBranches(branches, letters, texts, place(ids))


def log_sum(values: Sequence[float]) -> float:
    """ln of the sum of exp(values), without overflow."""
    highest = max(values)
    if highest == -math.inf:
        return highest
    return highest + math.log(sum(math.exp(value - highest) for value in values))


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _without_longer(sequences: list[list[int]]) -> list[list[int]]:
    """Distinct non-empty sequences, without those that begin with another one: their event is part of that one's."""
    kept: list[list[int]] = []
    for ids in sorted((ids for ids in sequences if ids), key=len):
        if not any(ids[: len(other)] == other for other in kept):
            kept.append(ids)
    return kept
