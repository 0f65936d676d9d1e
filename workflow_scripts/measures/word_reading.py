"""Does a lens at the speech positions show the words while they are spoken? Ours, after arXiv 2606.22473.

A lens ranks the vocabulary at every speech position. A position covers the seconds from its start to that of the next
one, the last until the audio ends. A word is looked for at the positions that its time, moved by an offset, overlaps:

    rank       the best rank over these positions and over the tokens that write the word
    recall     share of words with a rank of at most k
    log_rank   mean over words of log10(rank)

A question's value is the mean over its words. Its null has the words of another question at the same relative times.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.pair_null import Bin
from workflow_scripts.measures.reading import nan_mean
from workflow_scripts.measures.shuffle_null import p_value

OWN, NEXT = TARGETS = ("own", "next")
"""What is looked for while a word is spoken: the word, or the one after it."""
HIGHER_IS_BETTER = {"recall": True, "log_rank": False}
"""The measures."""
ROUNDING, SHORTEST = 1e-9, 1e-6
"""Seconds: a word that ends where a position begins is no part of it; a word without length lies in one position."""


@dataclass(frozen=True)
class SpokenWords:
    """Words of one question to look for.

    seconds: (W, 2) start and end of each in the audio. length: seconds of the audio. tokens: ids that write each word.
    """

    seconds: np.ndarray
    length: float
    tokens: Sequence[tuple[int, ...]]


@dataclass(frozen=True)
class Exchanged:
    """A mean over questions beside exchanged ones; arrays (...) of the cells. n: questions that count."""

    value: np.ndarray
    null: np.ndarray
    null_sd: np.ndarray
    p: np.ndarray
    n: np.ndarray


def shared_tokens(words: Sequence[Sequence[tuple[int, ...]]]) -> set[int]:
    """Tokens that write words of more than one question.

    Such words are looked for in no question: were they left out of the exchanged ones only, own words would be more
    common ones, and win without any speech.
    """
    questions = Counter(token for own in words for token in {token for one in own for token in one})
    return {token for token, number in questions.items() if number > 1}


def positions_of(starts: np.ndarray, length: float, seconds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First position (W,) that each time (W, 2) overlaps, and the one behind the last: equal where there is none.

    `starts` (T,): ascending seconds at which the positions begin.
    """
    ends = np.append(starts[1:], max(length, starts[-1]))
    begin = seconds[:, 0]
    stop = np.maximum(seconds[:, 1], begin + SHORTEST)
    first = np.searchsorted(ends, begin + ROUNDING, side="right")
    last = np.searchsorted(starts, stop - ROUNDING, side="left")
    return first, np.maximum(first, last)


def read_words(
    ranks: np.ndarray,
    starts: np.ndarray,
    length: float,
    words: SpokenWords,
    columns: Mapping[int, int],
    offsets: Sequence[float],
    k: int,
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Values of both measures, (layers, offsets), and how many words each offset has, (offsets,).

    NaN where no word overlaps any position. The words may be another question's: their times are stretched to `length`.

    Args:
        ranks: (layers, T, tokens) of the lens at the speech positions that begin at `starts` (T,), in audio of
            `length` seconds. columns: place of a token id in `ranks`.
        k: highest rank that counts as recalled.
    """
    found = {name: np.full((len(ranks), len(offsets)), np.nan) for name in HIGHER_IS_BETTER}
    counts = np.zeros(len(offsets), dtype=np.int64)
    seconds = words.seconds * (length / words.length)
    best = [ranks[:, :, [columns[token] for token in tokens]].min(axis=2) for tokens in words.tokens]
    for place, offset in enumerate(offsets):
        spans = zip(*positions_of(starts, length, seconds + offset)) if best else ()
        seen = [one[:, first:last].min(axis=1) for one, (first, last) in zip(best, spans) if first < last]
        counts[place] = len(seen)
        if seen:
            own = np.stack(seen)
            found["recall"][:, place] = (own <= k).mean(axis=0)
            found["log_rank"][:, place] = np.log10(own).mean(axis=0)
    return found, counts


def exchanged(values: np.ndarray, bins: Sequence[Bin], higher_is_better: bool) -> Exchanged:
    """Mean over questions of values (n, n, ...), row = speech, column = words, true pairs on the diagonal; its null.

    null, null_sd: over the derangements of `pair_null.plan_pairs`; p: over its permutations. A question that is alone
    in its bin does not count. NaN where no question does.
    """
    cells = values.shape[2:]
    own = np.full((len(values), *cells), np.nan)
    draws = max((len(one.partners) for one in bins), default=0)
    sums = {name: np.zeros((2, draws, *cells)) for name in ("partners", "permutations")}
    for one in bins:
        if len(one.members) < 2:
            continue
        own[one.members] = values[one.members, one.members]
        for name, (total, count) in sums.items():
            drawn = values[one.members, one.members[getattr(one, name)]]
            defined = ~np.isnan(drawn)
            total += np.where(defined, drawn, 0.0).sum(axis=1)
            count += defined.sum(axis=1)
    value = nan_mean(own)
    with np.errstate(invalid="ignore", divide="ignore"):
        null, permuted = (total / count for total, count in sums.values())
    spread = null.std(axis=0, ddof=1) if draws > 1 else np.full(cells, np.nan)
    return Exchanged(
        value, nan_mean(null), spread, p_value(value, permuted, higher_is_better), (~np.isnan(own)).sum(axis=0)
    )
