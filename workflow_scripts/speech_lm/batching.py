"""Which queries go into one batch."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], max_rows: int, max_positions: int) -> list[list[int]]:
    """Group indices by length: every index once, similar lengths together, longest batch first.

    max_rows: rows per batch. max_positions: rows times the longest length of a batch; a single longer row is a batch
    of its own. Longest first, so that a batch that does not fit memory fails at the start. Ties keep their order, so
    the result depends on the lengths only. Raises ValueError if a limit is below 1.
    """
    if max_rows < 1 or max_positions < 1:
        raise ValueError(f"max_rows={max_rows} and max_positions={max_positions} must be at least 1")
    grouped: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        group = grouped[-1] if grouped else []
        if not group or len(group) == max_rows or (len(group) + 1) * lengths[group[0]] > max_positions:
            grouped.append([index])
        else:
            group.append(index)
    return grouped
