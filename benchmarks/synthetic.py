"""State files of random, aligned states, and measured limits of this machine."""

import time
from pathlib import Path

import numpy as np
import torch

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.states import SampleStates, write_states


def draw_lengths(n: int, seed: int) -> tuple[list[int], list[int]]:
    """T_s and T_t of `n` questions: 8 to 24 tokens, and 2 to 4 times as many frames."""
    rng = np.random.default_rng(seed)
    T_t = rng.integers(8, 25, size=n)
    return [int(value) for value in np.round(T_t * rng.uniform(2, 4, size=n))], [int(value) for value in T_t]


def write_state_file(
    path: Path, n: int, depth: int, width: int, seed: int, compression: hdf5.Compression = "none"
) -> Path:
    """Write states of `n` questions at `depth` layer indices (L + 1), in memory that does not grow with n.

    All vectors share a mean; the frames hold the text's vectors in order, blurred by noise: paths are neither random
    nor perfect, as in a trained model.
    """
    T_s, T_t = draw_lengths(n, seed)
    rng = np.random.default_rng([seed, 1])
    shared = rng.standard_normal((depth, 1, width), dtype=np.float32)

    def sample(number: int) -> SampleStates:
        text = rng.standard_normal((depth, T_t[number], width), dtype=np.float32)
        frame_of = np.sort(rng.integers(0, T_t[number], size=T_s[number]))
        noise = rng.standard_normal((depth, T_s[number], width), dtype=np.float32)
        return SampleStates(
            speech=hdf5.float32_to_bfloat16(0.3 * text[:, frame_of] + noise + shared),
            text=hdf5.float32_to_bfloat16(text + shared),
        )

    write_states(
        path,
        ids=[f"q{number}" for number in range(n)],
        seconds=[frames / 10 for frames in T_s],
        T_s=T_s,
        tokens=[["t"] * tokens for tokens in T_t],
        char_spans=[[(j, j + 1) for j in range(tokens)] for tokens in T_t],
        n_layers=depth - 1,
        hidden_size=width,
        samples=((number, sample(number)) for number in range(n)),
        compression=compression,
        attributes={"model": "synthetic", "checkpoint": "final", "seed": seed},
    )
    return path


def gemm_rate(dtype: str = "float32", size: int = 1024, repeats: int = 5) -> float:
    """Best operations per second of torch's square matrix product in `dtype`, with the threads that are set."""
    a = torch.randn(size, size, generator=torch.Generator().manual_seed(0)).to(getattr(torch, dtype))
    best = min(_seconds(lambda: a @ a) for _ in range(repeats))
    return 2 * size**3 / best


def copy_rate(mebibytes: int = 256, repeats: int = 5) -> float:
    """Best bytes per second read in a memory-to-memory copy."""
    source = np.ones(mebibytes << 17, dtype=np.float64)
    target = np.empty_like(source)
    best = min(_seconds(lambda: np.copyto(target, source)) for _ in range(repeats))
    return source.nbytes / best


def _seconds(action) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
