"""Hidden states in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class States:
    """Hidden states of one query.

    Attributes:
        values: (L+1, T, d) float32; `values[l]` is the input of decoder layer l, the last the output before the final
            norm. T: positions of the query itself, without template.
        tokens: one label per position: the decoded token, or the time of a speech position.
    """

    values: np.ndarray
    tokens: tuple[str, ...]
