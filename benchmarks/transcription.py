"""The paper's formulas and the shuffled-pair null written down one after the other in NumPy: what a reader would write.

One loop over questions, layers and draws; nothing is shared between pairs. It is the reference of
`benchmarks.measures`, both for speed and for the numbers, and takes nothing from `workflow_scripts.measures`: the
derangements, which both must share, are given to it.

All arithmetic is in float64: in float32 two frames that are equally good up to rounding change places with the order of
a sum, and with them monotonicity and consistency, which know frame numbers only.

    cosine_l, euclidean_l      of the mean vectors hbar^s_l and hbar^t_l
    length_free_distance       euclidean_l / sqrt(||hbar^s_l|| ||hbar^t_l||)
    cosine_modality            cosine after the mean of each form over the other half of the questions is taken away
    A_l[i, j]                  cosine and Euclidean distance of speech frame i and text token j
    i*_j, path score           argmax_i (argmin_i) A_l[i, j] and A_l[i*_j, j]; the score's mean over j
    monotonicity               Spearman(j, i*_j), NaN for fewer than 4 tokens or a constant path
    consistency                share of tokens on whose frame both metrics agree
    violations, collisions     share of steps back; 1 - distinct frames / T_t, both of the cosine path
    monotone_score             mean cosine on the best path that never goes back
    dtw_cost                   cheapest warping of 1 - cosine from corner to corner, divided by T_s + T_t
    retrieval                  whether the text is the most similar one of all
"""

import numpy as np

MIN_TOKENS = 4
HIGHER_IS_BETTER = {
    "cosine": True,
    "euclidean": False,
    "length_free_distance": False,
    "cosine_modality": True,
    "retrieval": True,
    "path_score_cosine": True,
    "path_score_euclidean": False,
    "monotonicity_cosine": True,
    "monotonicity_euclidean": True,
    "consistency": True,
    "violations": False,
    "collisions": False,
    "monotone_score": True,
    "dtw_cost": False,
}


def cosine_of(x: np.ndarray, y: np.ndarray) -> float:
    """Cosine of two vectors."""
    return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))


def pair_measures(speech: np.ndarray, text: np.ndarray) -> dict[str, float]:
    """Measures of one pair alone at one layer; speech (T_s, d), text (T_t, d)."""
    s, t = speech.mean(axis=0), text.mean(axis=0)
    distance = float(np.linalg.norm(s - t))
    found = {"cosine": cosine_of(s, t), "euclidean": distance}
    found["length_free_distance"] = distance / np.sqrt(np.linalg.norm(s) * np.linalg.norm(t))
    lengths = np.linalg.norm(speech, axis=1)[:, None] * np.linalg.norm(text, axis=1)[None, :]
    cosine = speech @ text.T / lengths
    euclidean = np.linalg.norm(speech[:, None, :] - text[None, :, :], axis=2)
    paths = {"cosine": cosine.argmax(axis=0), "euclidean": euclidean.argmin(axis=0)}
    tokens = np.arange(len(text))
    for metric, matrix in (("cosine", cosine), ("euclidean", euclidean)):
        found[f"path_score_{metric}"] = float(matrix[paths[metric], tokens].mean())
        found[f"monotonicity_{metric}"] = spearman(tokens, paths[metric])
    found["consistency"] = float((paths["cosine"] == paths["euclidean"]).mean())
    found["violations"] = float((np.diff(paths["cosine"]) < 0).mean()) if len(text) > 1 else float("nan")
    found["collisions"] = 1 - len(set(paths["cosine"].tolist())) / len(text)
    found["monotone_score"] = monotone_score(cosine)
    found["dtw_cost"] = warping_cost(1 - cosine) / sum(cosine.shape)
    return found


def monotone_score(cosine: np.ndarray) -> float:
    """Best mean over tokens with non-decreasing frames; cosine (T_s, T_t)."""
    best = np.zeros(len(cosine))
    for column in cosine.T:
        best = np.maximum.accumulate(column + best)
    return float(best[-1] / cosine.shape[1])


def warping_cost(cost: np.ndarray) -> float:
    """Sum of the cheapest path from the first to the last cell of cost (T_s, T_t)."""
    total = np.full((cost.shape[0] + 1, cost.shape[1] + 1), np.inf)
    total[0, 0] = 0
    for i, row in enumerate(cost.tolist()):
        for j, value in enumerate(row):
            total[i + 1, j + 1] = value + min(total[i, j], total[i, j + 1], total[i + 1, j])
    return float(total[-1, -1])


def shard_measures(speech: list[np.ndarray], text: list[np.ndarray], half: np.ndarray) -> dict[str, np.ndarray]:
    """Measures that need the other questions, one layer, (N, N) each: row = speech, column = text."""
    s, t = (np.stack([one.mean(axis=0) for one in form]) for form in (speech, text))
    n = len(s)
    centred_s = [s[i] - s[half != half[i]].mean(axis=0) for i in range(n)]
    centred_t = [t[i] - t[half != half[i]].mean(axis=0) for i in range(n)]
    found = {name: np.empty((n, n)) for name in ("cosine_modality", "retrieval")}
    for i in range(n):
        first = int(np.argmax([cosine_of(s[i], other) for other in t]))
        for j in range(n):
            found["cosine_modality"][i, j] = cosine_of(centred_s[i], centred_t[j])
            found["retrieval"][i, j] = float(j == first)
    return found


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Pearson's coefficient of the average ranks."""
    if len(x) < MIN_TOKENS or len(set(y.tolist())) == 1:
        return float("nan")
    return float(np.corrcoef(average_ranks(x), average_ranks(y))[0, 1])


def average_ranks(values: np.ndarray) -> np.ndarray:
    """1 + how many are smaller + half of how many others are equal."""
    smaller = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return smaller + (equal + 1) / 2


def all_measures(
    speech: list[np.ndarray], text: list[np.ndarray], partners: np.ndarray, half: np.ndarray
) -> dict[str, dict[str, np.ndarray]]:
    """Raw values and null of N questions, from states (L+1, T, d) per question, partners (B, N) and halves (N,).

    Returns:
        measure -> {"raw", "null_mean", "null_sd", "p"}, each (N, L+1).
    """
    speech, text = ([one.astype(np.float64) for one in form] for form in (speech, text))
    n, depth, draws = len(speech), len(speech[0]), len(partners)
    raw = {name: np.empty((n, depth)) for name in HIGHER_IS_BETTER}
    null = {name: np.empty((draws, n, depth)) for name in HIGHER_IS_BETTER}
    for layer in range(depth):
        shared = shard_measures([one[layer] for one in speech], [one[layer] for one in text], half)
        for question in range(n):
            for place, other in enumerate([question, *partners[:, question]]):
                found = pair_measures(speech[question][layer], text[other][layer])
                found |= {name: values[question, other] for name, values in shared.items()}
                for name, value in found.items():
                    if place == 0:
                        raw[name][question, layer] = value
                    else:
                        null[name][place - 1, question, layer] = value
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
