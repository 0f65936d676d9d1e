"""All measures of one speech-text pair, by layer: the shard's code with a shard of one."""

from collections.abc import Iterable

import numpy as np

from workflow_scripts.measures.pair_alignment import align_pairs, stack_texts
from workflow_scripts.measures.pooled_pairs import PooledLayer, PooledPairs, pool_states
from workflow_scripts.measures.registry import of_level
from workflow_scripts.measures.states import Prepared, prepare_pair
from workflow_scripts.measures.time_truth import TimedQuestion


def measure_pair(
    speech: np.ndarray | Prepared,
    text: np.ndarray | Prepared,
    names: Iterable[str] | None = None,
    times: TimedQuestion | None = None,
) -> dict[str, np.ndarray]:
    """Values by layer, (L+1,) float64 each, of H_s (L+1, T_s, d) and H_t (L+1, T_t, d), matched or mismatched.

    names: measures of levels `pair` and `token`; by default all. NaN where a single pair has no value, such as the
    centred ones. times: when the words are spoken. Raises `InvalidStates` (ValueError) for states that are not finite
    or do not fit each other.
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
            pairs["token"] = align_pairs([one], stack_texts([other]), alone, times=[times])
        for name, measure in wanted.items():
            found[name][layer] = np.ravel(measure.function(pairs[measure.level]))[0]
    return found
