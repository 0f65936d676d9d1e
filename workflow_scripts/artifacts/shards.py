"""Shards: a seeded split of a subset's questions into equal parts, so that a cluster can be filled."""

import math
import random
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
SHARD_PATTERN = r"\d{2,}-of-\d{2,}"


def shard_names(n_questions: int, questions_per_shard: int | None) -> list[str]:
    """Names of the shards of `n_questions` questions: `00-of-02`, `01-of-02`."""
    count = 1 if questions_per_shard is None else max(1, math.ceil(n_questions / questions_per_shard))
    return [f"{number:02d}-of-{count:02d}" for number in range(count)]


def select_shard(items: Sequence[T], shard: str, seed: int) -> list[T]:
    """The items of one shard, in their original order; every item is in exactly one shard.

    Raises:
        ValueError: the name is not `NN-of-MM` with NN < MM.
    """
    if not re.fullmatch(SHARD_PATTERN, shard):
        raise ValueError(f"shard {shard!r} is not of the form 00-of-01")
    number, count = (int(part) for part in shard.split("-of-"))
    if number >= count:
        raise ValueError(f"shard {shard!r}: the number must be below the count")
    return split_shards(items, count, seed)[number]


def split_shards(items: Sequence[T], count: int, seed: int) -> list[list[T]]:
    """All shards by number, from one drawn order of the items."""
    order = random.Random(seed).sample(range(len(items)), len(items))
    return [[items[index] for index in sorted(order[number::count])] for number in range(count)]
