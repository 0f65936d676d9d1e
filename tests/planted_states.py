"""State files with known contents, for the tests of similarity and alignment."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.states import SampleStates, write_states


def write_planted(
    path: Path,
    speech: list[np.ndarray],
    text: list[np.ndarray],
    attributes: dict | None = None,
    spans: bool = True,
    starts: Sequence[np.ndarray] = (),
) -> Path:
    """Write speech (L+1, T_s, d) and text (L+1, T_t, d) of each question; values are rounded to bfloat16.

    Token j is character j of the prompt, or has no known place without `spans`. starts: of speech positions, seconds.
    """
    depth, _, width = speech[0].shape
    write_states(
        path,
        ids=[f"q{number}" for number in range(len(speech))],
        seconds=[one.shape[1] / 10 for one in speech],
        T_s=[one.shape[1] for one in speech],
        tokens=[[f"t{j}" for j in range(one.shape[1])] for one in text],
        char_spans=[[(j, j + 1) for j in range(one.shape[1])] if spans else [] for one in text],
        n_layers=depth - 1,
        hidden_size=width,
        samples=(
            (number, SampleStates(*map(hdf5.float32_to_bfloat16, pair)))
            for number, pair in enumerate(zip(speech, text))
        ),
        compression="none",
        attributes={"model": "planted", "checkpoint": "step-000001", **(attributes or {})},
        starts=starts,
    )
    return path


def rounded(values: np.ndarray) -> np.ndarray:
    """float32 values as a state file gives them back."""
    return hdf5.bfloat16_to_float32(hdf5.float32_to_bfloat16(values))


def random_states(lengths: list[int], seed: int, depth: int = 4, width: int = 32) -> list[np.ndarray]:
    """Independent normal states (depth, T, width), one per length, exactly representable in bfloat16."""
    rng = np.random.default_rng(seed)
    return [rounded(rng.standard_normal((depth, T, width), dtype=np.float32)) for T in lengths]


def plant_text(text: list[np.ndarray], T_s: list[int], seed: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Speech in which each text vector occurs as one frame, in the order of the text, among random frames.

    Returns:
        speech (L+1, T_s, d) and the planted path (T_t,) of every question.
    """
    rng = np.random.default_rng(seed)
    speech, paths = [], []
    for one, frames in zip(text, T_s):
        depth, tokens, width = one.shape
        path = np.sort(rng.choice(frames, tokens, replace=False))
        spoken = rounded(rng.standard_normal((depth, frames, width), dtype=np.float32))
        spoken[:, path] = one
        speech.append(spoken)
        paths.append(path)
    return speech, paths
