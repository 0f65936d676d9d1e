"""Which texts each spoken question of a shard is compared with: its own, and those the null's derangements give it.

Two derangements often give a question the same partner; every pair is aligned once, and counted as often as drawn.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures import derangements


@dataclass(frozen=True)
class Partners:
    """Texts that one spoken question is compared with.

    Attributes:
        texts: (P,) question numbers, the question's own text first, then its distinct partners.
        rows: (sum T_t,) rows of these texts in the block of all texts of a layer.
        starts: (P + 1,) where each text begins in `rows`.
        drawn: (B,) index into `texts` of the partner of each draw.
    """

    texts: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    drawn: np.ndarray

    def text(self, number: int) -> slice:
        """Places of `texts[number]` in `rows`."""
        return slice(int(self.starts[number]), int(self.starts[number + 1]))


def plan_pairs(T_s: np.ndarray, T_t: np.ndarray, draws: int, seed: int) -> list[Partners]:
    """Partners of each of the N questions with T_s frames and T_t tokens, (N,) each.

    A single question has nobody to be exchanged with: its `drawn` is empty, and so is its null.
    """
    n = len(T_s)
    partners = derangements(T_s, T_t, draws, seed) if n > 1 else np.empty((0, n), dtype=np.int64)
    offsets = np.concatenate([[0], np.cumsum(T_t)])
    plan = []
    for own in range(n):
        others, drawn = np.unique(partners[:, own], return_inverse=True)
        texts = np.concatenate([[own], others]).astype(np.int64)
        plan.append(
            Partners(
                texts=texts,
                rows=np.concatenate([np.arange(offsets[text], offsets[text + 1]) for text in texts]),
                starts=np.concatenate([[0], np.cumsum(np.asarray(T_t)[texts])]),
                drawn=drawn.astype(np.int64) + 1,
            )
        )
    return plan
