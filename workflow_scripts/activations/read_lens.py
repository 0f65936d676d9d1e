"""The logit lens at the speech positions: are the question's words there, and are they there while they are spoken?

Anywhere: recall of the question's content words among the `LENS_K` most likely tokens at any position, and, as control,
of another question's.

In time (ours, after arXiv 2606.22473; `measures.word_reading`): each word that the speech stage has timed, and the word
after it, at the positions where the first is spoken, some tenths of a second before and after; beside the words of
other questions of the subset at the same relative times. A word is looked for by its first sub-token with a space
before it, as written and in lower case: the better rank counts. Words with such a token in another question's words
are left out.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.word_times import WordTimes
from workflow_scripts.measures.word_reading import HIGHER_IS_BETTER, NEXT, OWN, SpokenWords, read_words, shared_tokens
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.probing.logit_lens import lens_ranks
from workflow_scripts.speech_lm.shard_queries import SpokenShard

LENS_K, LETTERS = 10, 5
"""Ranks that count as recalled, and letters of a word that counts as content."""
OFFSETS = (-0.8, -0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4, 0.8)
"""Seconds by which a word's time is moved: below 0 the lens is read before it is spoken."""
UNTIMED, NO_WORDS, ALONE = "times of positions not known", "no timed word of its own", "no other question"
"""Why a question is left out."""


@dataclass(frozen=True)
class Looked:
    """A question under the lens: number `place` of a shard, and when its words are spoken."""

    asked: SpokenShard
    place: int
    times: WordTimes

    @property
    def subset(self) -> str:
        """Its subset: words are exchanged inside it."""
        return self.asked.questions[self.place].subset


def check_times(looked: Iterable[Looked], path: Any) -> None:
    """Raises ArtifactError, naming `path`, unless the words are those of the prompts."""
    for one in looked:
        question = one.asked.questions[one.place]
        for word in one.times.words:
            if question.prompt[slice(*word.span)] != word.text:
                raise ArtifactError(
                    f"{path}: question {question.id!r} has the word {word.text!r} at characters {word.span}, its "
                    f"prompt there {question.prompt[slice(*word.span)]!r}; delete the file and run again"
                )


def read_lens(
    lm: DecoderSpeechLM, looked: Sequence[Looked], layers: Sequence[int]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """What `responses.h5` holds below `lens` and `words`, of N questions; the states of one are in memory at a time."""
    n = len(looked)
    subsets = np.array([one.subset for one in looked], dtype=str)
    targets = _targets(looked, lm.tokenizer)
    recall, control = (np.full((n, len(layers)), np.nan) for _ in range(2))
    shape = (n, n, len(layers), len(OFFSETS))
    values = {(form, name): np.full(shape, np.nan, np.float32) for form in targets for name in HIGHER_IS_BETTER}
    counts = {form: np.zeros((n, len(OFFSETS)), np.int64) for form in targets}
    reasons, positions = [""] * n, np.zeros(n, np.int64)
    for number, one in enumerate(looked):
        query = one.asked.spoken(lm, one.place)
        positions[number] = len(query.tokens)
        others = np.flatnonzero(subsets == one.subset)
        content = _content(one, lm.tokenizer)
        timed = {ids for words in targets.values() for place in others for ids in words[place].tokens}
        columns = {token: column for column, token in enumerate(sorted(set().union(*timed, *content)))}
        (states,) = lm.states([query], layers=layers)
        ranks = lens_ranks(lm, states, list(columns))
        for found, ids in zip((recall, control), content):
            if ids:
                hits = (ranks[:, :, [columns[token] for token in ids]] <= LENS_K).any(axis=1)
                found[number] = hits.mean(axis=1)
        if query.starts is None:
            reasons[number] = UNTIMED
            continue
        reasons[number] = NO_WORDS if not targets[OWN][number].tokens else ALONE if len(others) == 1 else ""
        starts, length = np.array(query.starts), targets[OWN][number].length
        for form, words in targets.items():
            for place in others:
                read, seen = read_words(ranks, starts, length, words[place], columns, OFFSETS, LENS_K)
                for name, value in read.items():
                    values[form, name][number, place] = value
                if place == number:
                    counts[form][number] = seen
    anywhere = {"layers": np.array(layers), "recall": recall, "control": control}
    in_time = {"layers": np.array(layers), "offsets": np.array(OFFSETS), "positions": positions}
    in_time |= {"subsets": np.char.encode(subsets), "reasons": np.char.encode(np.array(reasons, dtype=str))}
    in_time |= {f"{form}_{name}": found for (form, name), found in values.items()}
    return anywhere, in_time | {f"{form}_words": seen for form, seen in counts.items()}


def _content(one: Looked, tokenizer: Any) -> tuple[list[int], list[int]]:
    """Content words of the question, and those of the next one that it does not have."""
    questions = one.asked.questions
    mine = content_ids(questions[one.place].spoken, tokenizer)
    theirs = content_ids(questions[(one.place + 1) % len(questions)].spoken, tokenizer)
    return mine, [token for token in theirs if token not in mine]


def _targets(looked: Sequence[Looked], tokenizer: Any) -> dict[str, list[SpokenWords]]:
    """Words to look for, by what is looked for and question; those that questions of a subset share are left out."""
    written = [[word_ids(word.text, tokenizer) for word in one.times.words] for one in looked]
    shared = {
        subset: shared_tokens([ids for one, ids in zip(looked, written) if one.subset == subset])
        for subset in {one.subset for one in looked}
    }
    found: dict[str, list[SpokenWords]] = {OWN: [], NEXT: []}
    for one, ids in zip(looked, written):
        length = one.asked.source.seconds[one.asked.ids[one.place]]
        times = [word.seconds for word in one.times.words]
        following = ((time, b) for time, (a, b) in zip(times, pairwise(ids)) if a != b)
        for form, every in ((OWN, zip(times, ids)), (NEXT, following)):
            kept = [(time, word) for time, word in every if time and word and not shared[one.subset] & {*word}]
            seconds = np.array([time for time, _ in kept], dtype=np.float64).reshape(-1, 2)
            found[form].append(SpokenWords(seconds, length, [word for _, word in kept]))
    return found


def first_token(word: str, tokenizer: Any) -> int | None:
    """First sub-token, with a space before it, that is not blank; the first one if all are; None if there is none."""
    ids = tokenizer(" " + word, add_special_tokens=False)["input_ids"]
    return next((i for i in ids if tokenizer.decode([i]).strip()), ids[0] if ids else None)


def word_ids(word: str, tokenizer: Any) -> tuple[int, ...]:
    """The tokens by which a word is recognised: its first one as written and in lower case."""
    found = {first_token(one, tokenizer) for one in (word, word.lower())}
    return tuple(sorted(token for token in found if token is not None))


def content_ids(text: str, tokenizer: Any) -> list[int]:
    """First token of each distinct word of at least `LETTERS` letters, sorted."""
    words = {word for word in re.findall(r"[^\W\d_]+", text) if len(word) >= LETTERS}
    return sorted({token for word in words if (token := first_token(word, tokenizer)) is not None})
