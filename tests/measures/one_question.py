"""One question's measures in the shape that tests of single pairs read, from the code that measures shards."""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np

from workflow_scripts.measures.cka import layer_cka, u_centred_gram
from workflow_scripts.measures.pair_alignment import METRICS, align_pairs, stack_texts
from workflow_scripts.measures.pooled_pairs import PooledLayer, PooledPairs, pool_states
from workflow_scripts.measures.reading import mean_over_layers
from workflow_scripts.measures.registry import of_level
from workflow_scripts.measures.states import Prepared, prepare_pair

POOLED = ("cosine", "euclidean", "norm_speech", "norm_text", "token_norm_speech", "log_norm_ratio")


def measure_pair(
    speech: np.ndarray | Prepared, text: np.ndarray | Prepared, names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """Values by layer, (L+1,) float64 each, of H_s (L+1, T_s, d) and H_t (L+1, T_t, d), matched or mismatched.

    names: measures of levels `pair` and `token`; by default all. NaN where a single pair has no value, such as the
    centred ones.
    """
    speech, text = prepare_pair(speech, text)
    wanted = {name: one for name, one in of_level("pair", "token").items() if names is None or name in set(names)}
    found = {name: np.full(len(speech.states), np.nan) for name in wanted}
    alone = np.zeros(1, dtype=np.int64)
    for layer in range(len(speech.states)):
        one, other = speech.at(layer), text.at(layer)
        pooled = PooledLayer(pool_states([one]), pool_states([other]), np.zeros(1, dtype=bool), 0, alone)
        pairs = {"pair": PooledPairs(pooled, alone)}
        if any(measure.level == "token" for measure in wanted.values()):
            pairs["token"] = align_pairs([one], stack_texts([other]), alone)
        for name, measure in wanted.items():
            found[name][layer] = np.ravel(measure.function(pairs[measure.level]))[0]
    return found


def pooled_similarity(speech, text) -> SimpleNamespace:
    """Measures of level `pair`, (L+1,) each, and their means over layers."""
    values = measure_pair(speech, text, [*POOLED, "length_free_distance"])
    means = {f"sim_{name}": float(mean_over_layers(values[name])) for name in METRICS if len(values[name]) > 1}
    return SimpleNamespace(**values, **means)


def token_alignment(speech, text) -> SimpleNamespace:
    """Paths, path scores and the measures of the paper by metric."""
    speech, text = prepare_pair(speech, text)
    values, alone = measure_pair(speech, text), np.zeros(1, dtype=np.int64)
    layers = [align_pairs([speech.at(n)], stack_texts([text.at(n)]), alone).own[0] for n in range(len(speech.states))]

    def of(metric: str) -> SimpleNamespace:
        rho, by_layer = values[f"monotonicity_{metric}"], values[f"path_score_{metric}"]
        return SimpleNamespace(
            i_star=np.stack([one.i_star[metric] for one in layers]),
            path_score=np.stack([one.scores[metric] for one in layers]),
            monotonicity=rho,
            undefined=int(np.isnan(rho).sum()),
            aps_by_layer=by_layer,
            aps=float(mean_over_layers(by_layer)) if len(by_layer) > 1 else float("nan"),
        )

    return SimpleNamespace(
        **{metric: of(metric) for metric in METRICS},
        consistency=values["consistency"],
        zero_norms=speech.zero_norms + text.zero_norms,
    )


def debiased_cka(x, y) -> float:
    """CKA_u of x (n, d_x) and y (n, d_y), rows being the same questions."""
    return float(layer_cka(u_centred_gram(x)[None], u_centred_gram(y)[None])[0, 0])
