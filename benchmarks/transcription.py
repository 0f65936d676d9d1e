"""The paper's formulas and the shuffled-pair null written down one after the other in NumPy: what a reader would write.

One loop over questions, layers and draws; nothing is shared between pairs. It is the reference of
`benchmarks.measures`, both for speed and for the numbers, and takes nothing from `workflow_scripts.measures`: the
derangements, which both must share, are given to it.

    cosine_l, euclidean_l      of the mean vectors hbar^s_l and hbar^t_l
    A_l[i, j]                  cosine and Euclidean distance of speech frame i and text token j
    i*_j, path score           argmax_i (argmin_i) A_l[i, j] and A_l[i*_j, j]; the score's mean over j
    monotonicity               Spearman(j, i*_j), NaN for fewer than 4 tokens or a constant path
    consistency                share of tokens on whose frame both metrics agree
"""

import numpy as np

FEWEST_TOKENS = 4
HIGHER_IS_BETTER = {
    "cosine": True,
    "euclidean": False,
    "path_score_cosine": True,
    "path_score_euclidean": False,
    "monotonicity_cosine": True,
    "monotonicity_euclidean": True,
    "consistency": True,
}


def pair_measures(speech: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """All measures of one pair at one layer; speech (T_s, d), text (T_t, d)."""
    s, t = speech.mean(axis=0), text.mean(axis=0)
    found = {
        "cosine": float(s @ t / (np.linalg.norm(s) * np.linalg.norm(t))),
        "euclidean": float(np.linalg.norm(s - t)),
    }
    lengths = np.linalg.norm(speech, axis=1)[:, None] * np.linalg.norm(text, axis=1)[None, :]
    cosine = speech @ text.T / lengths
    euclidean = np.linalg.norm(speech[:, None, :] - text[None, :, :], axis=2)
    paths = {"cosine": cosine.argmax(axis=0), "euclidean": euclidean.argmin(axis=0)}
    tokens = np.arange(len(text))
    for metric, matrix in (("cosine", cosine), ("euclidean", euclidean)):
        found[f"path_score_{metric}"] = float(matrix[paths[metric], tokens].mean())
        found[f"monotonicity_{metric}"] = spearman(tokens, paths[metric])
    found["consistency"] = float((paths["cosine"] == paths["euclidean"]).mean())
    return found


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's coefficient of the average ranks."""
    if len(x) < FEWEST_TOKENS or len(set(y.tolist())) == 1:
        return float("nan")
    return float(np.corrcoef(average_ranks(x), average_ranks(y))[0, 1])


def average_ranks(values: np.ndarray) -> np.ndarray:
    """1 + how many are smaller + half of how many others are equal."""
    smaller = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return smaller + (equal + 1) / 2


def all_measures(
    speech: list[np.ndarray], text: list[np.ndarray], partners: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Raw values and null of N questions, from states (L+1, T, d) per question and partners (B, N).

    Returns:
        measure -> {"raw", "null_mean", "null_sd", "p"}, each (N, L+1).
    """
    n, depth, draws = len(speech), len(speech[0]), len(partners)
    raw = {name: np.empty((n, depth)) for name in HIGHER_IS_BETTER}
    null = {name: np.empty((draws, n, depth)) for name in HIGHER_IS_BETTER}
    for question in range(n):
        for layer in range(depth):
            for name, value in pair_measures(speech[question][layer], text[question][layer]).items():
                raw[name][question, layer] = value
            for draw in range(draws):
                other = text[partners[draw, question]][layer]
                for name, value in pair_measures(speech[question][layer], other).items():
                    null[name][draw, question, layer] = value
    return {name: _with_null(raw[name], null[name], HIGHER_IS_BETTER[name]) for name in raw}


def _with_null(raw: np.ndarray, null: np.ndarray, higher: bool) -> dict[str, np.ndarray]:
    mean, sd, p = np.empty_like(raw), np.empty_like(raw), np.empty_like(raw)
    for place in np.ndindex(raw.shape):
        values = null[(slice(None), *place)]
        defined = values[~np.isnan(values)]
        mean[place] = defined.mean() if len(defined) else np.nan
        sd[place] = defined.std(ddof=1) if len(defined) > 1 else np.nan
        worse = (values < raw[place]) if higher else (values > raw[place])
        p[place] = np.nan if np.isnan(raw[place]) else (len(values) - worse.sum() + 1) / (len(values) + 1)
    return {"raw": raw, "null_mean": mean, "null_sd": sd, "p": p}
