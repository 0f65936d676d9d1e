"""The speech adapter of the paper: neighbouring encoder frames, stacked, through two fully connected layers."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


@dataclass(frozen=True)
class AdapterShape:
    """Everything that fixes the adapter's parameters: stacked frames, widths, activation ("relu" or "gelu")."""

    d_encoder: int
    d_hidden: int
    d_model: int
    stack: int = 5
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"adapter activation {self.activation!r} is unknown; choose one of {', '.join(_ACTIVATIONS)}"
            )
        for name in ("d_encoder", "d_hidden", "d_model", "stack"):
            if getattr(self, name) < 1:
                raise ValueError(f"adapter {name} is {getattr(self, name)}; it must be at least 1")

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for a JSON file; `AdapterShape(**d)` reverses it."""
        return asdict(self)


class SpeechAdapter(nn.Module):
    """Linear(stack * d_encoder, d_hidden) - activation - Linear(d_hidden, d_model) on `stack` frames at a time.

    Source: arXiv 2510.12116, section 2 (k = 5 frames of Whisper, 50 per second, give 10 positions per second).
    """

    def __init__(self, shape: AdapterShape) -> None:
        super().__init__()
        self.shape = shape
        self.down = nn.Linear(shape.stack * shape.d_encoder, shape.d_hidden)
        self.activation = _ACTIVATIONS[shape.activation]()
        self.up = nn.Linear(shape.d_hidden, shape.d_model)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Positions T_s = ceil(frames / stack)."""
        return (lengths + self.shape.stack - 1) // self.shape.stack

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, d_encoder) frames, of which `lengths` (B,) are real -> (B, ceil(F / stack), d_model), (B,) lengths.

        Frames past a row's length count as zeros, so that a row's result does not depend on how far it is padded.
        """
        n_rows, n_frames, width = features.shape
        if width != self.shape.d_encoder:
            raise ValueError(f"features have {width} numbers per frame, the adapter takes {self.shape.d_encoder}")
        real = torch.arange(n_frames, device=features.device) < lengths.to(features.device)[:, None]
        features = features.to(self.down.weight.dtype) * real[..., None]
        missing = -n_frames % self.shape.stack
        if missing:
            features = nn.functional.pad(features, (0, 0, 0, missing))
        stacked = features.reshape(n_rows, -1, self.shape.stack * width)
        return self.up(self.activation(self.down(stacked))), self.output_lengths(lengths)
