"""Every measure of the registry with a null: its p is uniform on unrelated data and small where an effect is planted.

Layers stand for repetitions: in a made shard each layer is drawn anew, so one pass over a shard tests every measure
many times. A new measure is in these tests as soon as it is in the registry.
"""

import functools

import numpy as np
import pytest
from scipy.stats import binom

from workflow_scripts.alignment.align_tokens import measure_alignment
from workflow_scripts.measures.pair_null import plan_pairs
from workflow_scripts.measures.registry import MEASURES, of_level
from workflow_scripts.measures.shuffle_null import p_value
from workflow_scripts.measures.word_reading import HIGHER_IS_BETTER, SpokenWords, exchanged, read_words
from workflow_scripts.similarity.measure_similarity import pooled_measurements

REPEATS = {20: {"token": 300, "pair": 600}, 40: {"token": 150, "pair": 400}, 100: {"token": 60, "pair": 200}}
"""Number of questions -> layers drawn, by level; `shard` as `pair`."""
DRAWS, WIDTH, SEED = 199, 12, 5
FEW_VALUES = {"retrieval"}
"""Measures whose mean takes few values on unrelated data, rare hits: p makes steps and stands above, never below, its
level."""
WITH_NULL = [name for name, measure in MEASURES.items() if measure.has_null]


class MadeShard:
    """States in memory, as a state file gives them: unrelated, or speech that says its text in order."""

    path = "made"

    def __init__(self, n: int, layers: int, planted: bool):
        rng = np.random.default_rng([SEED, n])
        self.ids = [f"q{number}" for number in range(n)]
        self.n_layers, self.layers = layers - 1, list(range(layers))
        self.attributes = {"model": "m", "checkpoint": "final", "subset": "s", "n_layers": layers - 1}
        T_t = rng.integers(5, 9, n)
        self._T = {"text": T_t, "speech": 2 * T_t if planted else T_t + rng.integers(1, 5, n)}
        self.planted, self.rng = planted, rng
        # What all states of a form share: unrelated questions look alike, and the forms differ.
        self._common = {form: rng.standard_normal(WIDTH) for form in self._T}
        self._text: np.ndarray | None = None

    def offsets(self, form: str) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self._T[form])])

    def layer(self, form: str, layer: int) -> np.ndarray:
        """Speech is asked for first; when planted, it is the text's tokens, each for two frames, with noise."""
        if form == "text" and self._text is not None:
            return self._text
        total = int(self._T["text" if self.planted else form].sum())
        states = self.rng.standard_normal((total, WIDTH))
        if not self.planted:
            return (states + self._common[form]).astype(np.float32)
        self._text = (states + self._common["text"]).astype(np.float32)
        spoken = np.repeat(states, 2, axis=0) + 0.2 * self.rng.standard_normal((2 * total, WIDTH))
        return (spoken + self._common["text"]).astype(np.float32)


@functools.cache
def p_of_every_layer(n: int, planted: bool = False) -> dict[str, np.ndarray]:
    """Measure -> p of the mean over questions, as checkpoints.csv has it, for each repetition."""
    layers = dict.fromkeys(("pair", "token"), 10) if planted else REPEATS[n]
    arguments = {"draws": DRAWS, "seed": SEED}
    pooled = pooled_measurements(MadeShard(n, layers["pair"], planted), **arguments, massive=1)
    aligned = measure_alignment(MadeShard(n, layers["token"], planted), **arguments, examples=0)
    found = {}
    for name, (total, count) in (pooled.draws | aligned.draws).items():
        raw = (pooled.measures | aligned.measures)[name].raw
        better = bool(MEASURES[name].higher_is_better)
        found[name] = p_value(np.nanmean(raw, axis=0), total / count, better)
    for name, (values, draws) in pooled.shard.items():
        raw = values if values.ndim == 1 else np.diagonal(values)
        found[name] = p_value(raw, draws, bool(MEASURES[name].higher_is_better))
    return found


@pytest.mark.parametrize("n", REPEATS)
def test_every_measure_with_a_null_is_tested(n):
    assert set(p_of_every_layer(n)) == set(WITH_NULL)
    assert set(WITH_NULL) <= set(of_level("pair", "token", "shard"))


@pytest.mark.parametrize("name", WITH_NULL)
def test_p_is_uniform_on_unrelated_data(name):
    """All shard sizes together within .03 to .08, each by itself within what its number of repetitions allows."""
    found = {n: p_of_every_layer(n)[name] for n in REPEATS}
    for n, p in found.items():
        assert (p <= 0.05).sum() <= binom.ppf(0.999, len(p), 0.05), n
    together = np.concatenate(list(found.values()))
    assert (together <= 0.05).mean() <= 0.08
    if name not in FEW_VALUES:
        assert (together <= 0.05).mean() >= 0.03
        assert abs(together.mean() - 0.5) < 4 / np.sqrt(12 * len(together))


@pytest.mark.parametrize("name", WITH_NULL)
def test_a_planted_effect_is_found(name):
    assert (p_of_every_layer(40, planted=True)[name] <= 0.01).mean() >= 0.9


@functools.cache
def p_of_words(n: int, planted: bool = False, words: int = 3) -> dict[str, np.ndarray]:
    """The same for words under the lens: ranks of unrelated questions, some better for all words, of some words better
    for all questions; planted: a word's own rank is ten times better while it is spoken."""
    rng = np.random.default_rng([SEED, n])
    layers = 10 if planted else 600
    columns = {token: token for token in range(n * words)}
    common = rng.normal(0, 0.5, n * words)
    values = {name: np.empty((n, n, layers, 1)) for name in HIGHER_IS_BETTER}
    asked = [
        SpokenWords(np.array([(k, k + 1) for k in range(words)]), words, [(words * number + k,) for k in range(words)])
        for number in range(n)
    ]
    for number in range(n):
        log_ranks = 1.2 + rng.normal(0, 0.5) + common + rng.normal(0, 0.6, (layers, words, n * words))
        for k in range(words if planted else 0):
            log_ranks[:, k, words * number + k] -= 1
        ranks = np.clip(10**log_ranks, 1, 1001)
        for other in range(n):
            found, _ = read_words(ranks, np.arange(words), words, asked[other], columns, [0.0], k=10)
            for name, value in found.items():
                values[name][number, other] = value
    bins = plan_pairs(np.full(n, words), np.full(n, words), DRAWS, SEED)
    return {name: exchanged(values[name], bins, better).p[:, 0] for name, better in HIGHER_IS_BETTER.items()}


@pytest.mark.parametrize("name", HIGHER_IS_BETTER)
def test_p_of_words_under_the_lens_is_uniform_and_finds_them(name):
    for n in (4, 20):
        p = p_of_words(n)[name]
        assert (p <= 0.05).mean() <= 0.08, n
        if name != "recall":  # takes few values, as those of FEW_VALUES
            assert (p <= 0.05).mean() >= 0.03 and abs(p.mean() - 0.5) < 0.06, n
    assert (p_of_words(20, planted=True)[name] <= 0.01).mean() >= 0.9
