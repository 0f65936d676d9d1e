"""Which queries go into one batch, and how wide it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

WIDTH_STEP = 16
"""Widths are rounded up to a multiple, so that kernels meet few different shapes; the padding costs less than that."""


def padded_width(length: int) -> int:
    """The next multiple of `WIDTH_STEP`."""
    return -(-length // WIDTH_STEP) * WIDTH_STEP


def batches(lengths: Sequence[int], max_rows: int, max_positions: int, least_share: float = 0.0) -> list[list[int]]:
    """Group indices by length: every index once, similar lengths together, longest batch first.

    max_rows: rows per batch. max_positions: rows times the longest length of a batch; a single longer row is a batch
    of its own. least_share: a row shorter than this share of a batch's longest is not in it. Longest first, so that a
    batch that does not fit memory fails at the start. Ties keep their order, so the result depends on the lengths only.
    Raises ValueError if a limit is below 1.
    """
    if max_rows < 1 or max_positions < 1:
        raise ValueError(f"max_rows={max_rows} and max_positions={max_positions} must be at least 1")
    grouped: list[list[int]] = []
    for index in longest_first(lengths):
        group = grouped[-1] if grouped else []
        longest = lengths[group[0]] if group else 0
        full = len(group) == max_rows or (len(group) + 1) * longest > max_positions
        if not group or full or lengths[index] < least_share * longest:
            grouped.append([index])
        else:
            group.append(index)
    return grouped


def consecutive(lengths: Sequence[int], max_positions: int) -> list[slice]:
    """Split rows, in their order, into runs of at most `max_positions` = rows times longest; a run has at least one."""
    runs: list[slice] = []
    start, longest = 0, 0
    for index, length in enumerate(lengths):
        longest = max(longest, length)
        if index > start and (index - start + 1) * longest > max_positions:
            runs.append(slice(start, index))
            start, longest = index, length
    return [*runs, slice(start, len(lengths))] if lengths else []


def longest_first(lengths: Sequence[int]) -> list[int]:
    """Indices in descending order of length; ties keep their order."""
    return sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))


def put_back(values: Sequence[T], order: Sequence[int]) -> list[T]:
    """The inverse of `[originals[index] for index in order]`."""
    return [value for _, value in sorted(zip(order, values), key=lambda pair: pair[0])]
