"""Hidden states of one sample in one form, checked once and ready for every measure.

Symbols follow arXiv 2510.12116: a sample has `H` of shape (L+1, T, d): index 0 the input embeddings, index
L the output of the last decoder layer; T positions (T_s speech frames or T_t text tokens); hidden size d.
"""

from dataclasses import dataclass

import numpy as np

ZERO_NORM = 1e-12
"""Vectors no longer than this count as zero: their direction is noise, and float32 squares lose it
altogether."""

LARGEST_NORM = 1e18
"""Above this a float32 inner product of two such vectors can overflow."""


class InvalidStates(ValueError):
    """States no measure can use. `layer` is the offending layer, or None if the whole array is at fault."""

    def __init__(self, message: str, layer: int | None = None):
        super().__init__(message)
        self.layer = layer


@dataclass(frozen=True)
class Prepared:
    """States of one sample with what every comparison needs again: a null of B draws computes it once.

    states       (L+1, T, d) float32, contiguous
    norms        (L+1, T) float64, Euclidean length of each vector; exactly 0 where it is at most `ZERO_NORM`
    first_equal  (L+1, T) int, index of the first position of that layer with the same vector (mostly itself).
                 Ties between repeated vectors are resolved with it, because a matrix product may round the
                 same inner product differently in different columns. Repeats are real: models with discrete
                 speech units have equal embeddings at layer 0 for equal units.
    """

    states: np.ndarray
    norms: np.ndarray
    first_equal: np.ndarray

    @property
    def zero_norms(self) -> int:
        """Number of zero vectors over all layers and positions."""
        return int(np.count_nonzero(self.norms == 0))

    def at(self, layer: int) -> "Prepared":
        """One layer alone, (1, T, d)."""
        only = slice(layer, layer + 1)
        return Prepared(self.states[only], self.norms[only], self.first_equal[only])

    @property
    def positions(self) -> int:
        """T."""
        return self.states.shape[1]


def prepare(states: np.ndarray | Prepared, name: str = "states") -> Prepared:
    """Check states (L+1, T, d) of float16, float32 or float64, convert to float32 and compute norms.

    A `Prepared` is returned as it is. `name` is used in messages ("speech states", "text states").

    Raises `InvalidStates` (a ValueError) if the array is not three-dimensional and floating, is empty, or
    holds a value that is not finite or too large for float32 inner products; the message names the layer.
    Adding the sample's id is up to the caller.
    """
    if isinstance(states, Prepared):
        return states
    states = np.asarray(states)
    if not np.issubdtype(states.dtype, np.floating):
        raise InvalidStates(
            f"{name} have dtype {states.dtype}, expected a floating type;"
            " bfloat16 stored as uint16 must be decoded first"
        )
    if states.ndim != 3 or 0 in states.shape:
        raise InvalidStates(
            f"{name} have shape {states.shape}, expected (layers, positions, hidden size), none of them 0;"
            " drop samples without positions before measuring"
        )
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes inf and is reported below
        states = np.ascontiguousarray(states, dtype=np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        norms = np.sqrt(np.einsum("ltd,ltd->lt", states, states, dtype=np.float64))
    _check_norms(norms, name)
    norms[norms <= ZERO_NORM] = 0.0
    return Prepared(states, norms, _first_equal(states, norms))


def prepare_pair(speech: np.ndarray | Prepared, text: np.ndarray | Prepared) -> tuple[Prepared, Prepared]:
    """`prepare` both forms of a sample (or of a mismatched pair) and check that layers and hidden size agree.

    Raises `InvalidStates` if they do not.
    """
    speech, text = prepare(speech, "speech states"), prepare(text, "text states")
    (layers_s, _, d_s), (layers_t, _, d_t) = speech.states.shape, text.states.shape
    if (layers_s, d_s) != (layers_t, d_t):
        raise InvalidStates(
            f"speech states have {layers_s} layers of size {d_s} but text states {layers_t} layers of size {d_t};"
            " both must come from the same model"
        )
    return speech, text


def _check_norms(norms: np.ndarray, name: str) -> None:
    """A NaN or infinity anywhere in a vector makes its norm non-finite, so the norms tell without a second
    pass."""
    bad = ~(norms < LARGEST_NORM)
    if not bad.any():
        return
    layer, position = (int(index) for index in np.argwhere(bad)[0])
    value = norms[layer, position]
    what = f"too large (norm {value:.3g} > {LARGEST_NORM:g})" if np.isfinite(value) else "not finite"
    raise InvalidStates(
        f"{name} are {what} in layer {layer}, position {position} ({int(bad.sum())} vectors in all);"
        " extract them again in float32 or bfloat16, or drop the sample",
        layer=layer,
    )


def _first_equal(states: np.ndarray, norms: np.ndarray) -> np.ndarray:
    """Index of the first equal vector per layer and position. Only vectors of exactly equal norm are
    compared."""
    layers, positions = norms.shape
    first = np.tile(np.arange(positions), (layers, 1))
    order = np.argsort(norms, axis=1, kind="stable")
    ranked = np.take_along_axis(norms, order, axis=1)
    repeats = ranked[:, 1:] == ranked[:, :-1]
    for layer in np.flatnonzero(repeats.any(axis=1)):
        suspect = np.zeros(positions, dtype=bool)
        suspect[order[layer, 1:][repeats[layer]]] = True
        suspect[order[layer, :-1][repeats[layer]]] = True
        seen: dict[bytes, int] = {}
        for position in np.flatnonzero(suspect):
            vector = states[layer, position] + np.float32(0.0)  # -0.0 and 0.0 are the same vector
            first[layer, position] = seen.setdefault(vector.tobytes(), int(position))
    return first
