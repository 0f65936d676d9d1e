"""Is a mean over questions another one for a kind of questions than for the rest? Interval and test by tag (ours).

A row has the mean of the questions with a tag, that of the rest, and their difference with MOVER's interval and the p
of exchanged tags (`group_tests`), Holm's correction over the tags. Below `FEWEST` questions on a side nothing is
tested.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from workflow_scripts.measures.question_tags import in_order
from workflow_scripts.statistics.group_tests import exchange_p, groups_interval
from workflow_scripts.statistics.means import Mean
from workflow_scripts.statistics.paired_tests import holm

FEWEST = 5
DRAWS = 1999


def tag_rows(
    values: np.ndarray, bounds: tuple[float, float] | None, tags: Sequence[Sequence[str]], seed: int
) -> Iterator[dict[str, Any]]:
    """A row per tag, of the (n,) values of questions with these tags.

    Args:
        values: a gap, or another number for each question.
        bounds: of the score whose differences they are; None for losses.
        seed: of the exchanges.
    """
    rows, tested = [], []
    for tag in in_order(tags):
        members = np.array([tag in own for own in tags])
        with_tag, rest = (_mean(values[chosen], bounds) for chosen in (members, ~members))
        low, high = with_tag.interval
        row = {"tag": tag, "n": len(with_tag.values), "value": with_tag.value, "low": low, "high": high}
        row |= {"n_rest": len(rest.values), "rest": rest.value}
        if min(row["n"], row["n_rest"]) >= FEWEST:
            difference_low, difference_high = groups_interval(with_tag, rest)
            row |= {"difference": with_tag.value - rest.value, "p": exchange_p(values, members, draws=DRAWS, seed=seed)}
            row |= {"difference_low": difference_low, "difference_high": difference_high}
            tested.append(row)
        rows.append(row)
    for row, p in zip(tested, holm(np.array([row["p"] for row in tested]))):
        row["p_holm"] = float(p)
    yield from rows


def _mean(values: np.ndarray, bounds: tuple[float, float] | None) -> Mean:
    return Mean(float(values.mean()) if len(values) else float("nan"), values, bounds, paired=True)
