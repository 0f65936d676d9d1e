"""Do two systems fail on the same questions? Cohen's kappa and the overlap of errors, from paired 0/1 outcomes (n,).

Kappa (Cohen 1960) = (agreement - expected) / (1 - expected), expected from the two rates of success; 1 for equal
outcomes, 0 for independent ones. Error overlap = errors of both / errors of either (Jaccard), beside the value that
independent errors of the same rates would have.
"""

from dataclasses import dataclass

import numpy as np

from workflow_scripts.statistics.means import UNKNOWN, Z_95, share_interval


@dataclass(frozen=True)
class Agreement:
    """Agreement of two systems.

    Attributes:
        agreement: share of questions with equal outcome.
        kappa: NaN where one system's outcome never varies together with the other's (expected agreement of 1).
        error_overlap: NaN where neither fails.
        error_overlap_chance: error overlap of independent failures of the same rates; NaN where neither fails.
    """

    agreement: float
    kappa: float
    error_overlap: float
    error_overlap_chance: float


def outcome_agreement(first: np.ndarray, second: np.ndarray) -> Agreement:
    """Agreement of two systems on the same questions, outcomes (n,) of 0 or 1 each.

    Raises:
        ValueError: no questions, lengths that differ, or outcomes other than 0 and 1.
    """
    (neither, only_second), (only_first, both) = _counts(first, second)
    total = neither + only_second + only_first + both
    one, other = both + only_first, both + only_second
    # In products of counts, which are exact: shares of n would leave kappa at 1e-16 where it is 0.
    expected = one * other + (total - one) * (total - other)
    return Agreement(
        agreement=(both + neither) / total,
        kappa=_ratio(total * (both + neither) - expected, total**2 - expected),
        error_overlap=_ratio(neither, total - both),
        error_overlap_chance=_ratio((total - one) * (total - other), total**2 - one * other),
    )


def agreement_intervals(first: np.ndarray, second: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals of `agreement`, `kappa` and `error_overlap`; NaN where the number is undefined, or n is 1.

    Shares, of all questions or of those that either fails, have the exact interval (Clopper and Pearson). Kappa's is
    that of Fleiss, Cohen and Everitt (1969) with one question more in each of the four cells (ours, as Bonett and Price
    do for differences), so that it has a width where the systems always agree.
    """
    counts = _counts(first, second)
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if len(first) < 2:
        return dict.fromkeys(("agreement", "kappa", "error_overlap"), UNKNOWN)
    found, failed = outcome_agreement(first, second), (first == 0) | (second == 0)
    overlap = share_interval((first == second)[failed].astype(np.float64)) if failed.any() else UNKNOWN
    return {
        "agreement": share_interval((first == second).astype(np.float64)),
        "kappa": UNKNOWN if np.isnan(found.kappa) else _kappa_interval(counts + 1.0),
        "error_overlap": overlap,
    }


def _kappa_interval(counts: np.ndarray) -> tuple[float, float]:
    from statsmodels.stats.inter_rater import cohens_kappa  # slow to load

    found = cohens_kappa(counts)
    half = Z_95 * float(found.std_kappa)
    return max(-1.0, float(found.kappa) - half), min(1.0, float(found.kappa) + half)


def _counts(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(2, 2) questions by outcome of the first and of the second system."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or not len(first):
        raise ValueError(f"need two non-empty sequences of equal length, got shapes {first.shape} and {second.shape}")
    if not np.isin(np.concatenate([first, second]), (0, 1)).all():
        raise ValueError("outcomes must be 0 or 1; decide for graded scores what counts as success")
    return np.bincount((2 * first + second).astype(int), minlength=4).reshape(2, 2)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below > 0 else float("nan")
