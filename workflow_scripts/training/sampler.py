"""Which samples make up which step: a pure function of (seed, step), so that a resumed run sees the same data."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from torch.utils.data import Sampler

STEPS_PER_GROUP, ITEMS_PER_GROUP = 4, 64
"""Batches are cut from length-sorted groups of this many batches and at least so many items: little padding, and kinds
of prompts stay mixed."""


class LengthGroupedOrder:
    """Endless epochs over N items: each item at most once an epoch, items of like length in the same batch.

    An epoch is a random permutation, cut into groups of at least `STEPS_PER_GROUP` batches and `ITEMS_PER_GROUP` items;
    each group is sorted by length, cut into batches, and all batches are shuffled. What does not fill the last batch
    waits for another epoch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: Sequence[int]) -> None:
        if len(lengths) < batch_size:
            raise ValueError(
                f"{len(lengths)} training samples for {batch_size} in one batch; lower batch_size in the recipe or "
                "raise training.instructions.prompts"
            )
        self.lengths = np.asarray(lengths)
        self.batch_size = batch_size
        self.seed = list(seed)
        self.steps_per_epoch = len(lengths) // batch_size
        self._epoch = lru_cache(maxsize=2)(self._make_epoch)

    def batch(self, step: int) -> list[int]:
        """Items of step 0, 1, 2 ..."""
        epoch, number = divmod(step, self.steps_per_epoch)
        return self._epoch(epoch)[number].tolist()

    def _make_epoch(self, epoch: int) -> np.ndarray:
        """(steps_per_epoch, batch_size) items."""
        rng = np.random.default_rng([*self.seed, epoch])
        order = rng.permutation(len(self.lengths))[: self.steps_per_epoch * self.batch_size]
        size = max(STEPS_PER_GROUP, -(-ITEMS_PER_GROUP // self.batch_size)) * self.batch_size
        groups = [order[start : start + size] for start in range(0, len(order), size)]
        ordered = [group[np.argsort(self.lengths[group], kind="stable")] for group in groups]
        return rng.permutation(np.concatenate(ordered).reshape(-1, self.batch_size), axis=0)


class MixedBatchSampler(Sampler[int]):
    """Sample indices of `InstructionDataset`, `batch_size` in a row for each optimiser step.

    Each step has exactly round(batch_size * written_share) written samples, the rest are spoken; both run through all
    instructions in their own random order. The whole run is one pass over this sampler.
    """

    def __init__(self, lengths: Sequence[int], *, batch_size: int, written_share: float, steps: int, seed: int) -> None:
        """lengths: positions of each of the N instructions, as spoken. steps: optimiser steps of the run."""
        self.n_instructions = len(lengths)
        self.batch_size = batch_size
        self.steps = steps
        self.n_written = round(batch_size * written_share)
        self.n_spoken = batch_size - self.n_written
        if self.n_spoken < 1:
            raise ValueError(f"written_share {written_share} leaves no spoken sample in a batch of {batch_size}")
        self._spoken = LengthGroupedOrder(lengths, self.n_spoken, (seed, 0))
        self._written = LengthGroupedOrder(lengths, self.n_written, (seed, 1)) if self.n_written else None

    def batch(self, step: int) -> list[int]:
        """Indices of one optimiser step, spoken ones first."""
        written = self._written.batch(step) if self._written else []
        return self._spoken.batch(step) + [self.n_instructions + item for item in written]

    def __len__(self) -> int:
        return self.steps * self.batch_size

    def __iter__(self) -> Iterator[int]:
        for step in range(self.steps):
            yield from self.batch(step)
