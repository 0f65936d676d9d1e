"""BLSP's speech adapter: strided convolutions, a bottleneck and a layer norm on encoder frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ConvAdapterShape:
    """What fixes the parameters: widths of encoder, bottleneck and language model, and odd kernels, one per halving."""

    d_encoder: int
    d_inner: int
    d_model: int
    kernels: tuple[int, ...] = (5, 5, 5)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kernels", tuple(self.kernels))
        if not self.kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels {self.kernels} must be odd numbers, one at least")
        for name in ("d_encoder", "d_inner", "d_model"):
            if getattr(self, name) < 1:
                raise ValueError(f"adapter {name} is {getattr(self, name)}; it must be at least 1")

    @property
    def stack(self) -> int:
        """Encoder frames per position."""
        return 2 ** len(self.kernels)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"kind": "conv", **asdict(self), "kernels": list(self.kernels)}


class ConvAdapter(nn.Module):
    """Convolutions of stride 2, each with a gated linear unit; x + W2 gelu(W1 x); layer norm.

    Source: BLSP (arXiv 2309.00916), three convolutions: 50 frames per second give 6.25 positions.
    """

    def __init__(self, shape: ConvAdapterShape) -> None:
        super().__init__()
        self.shape = shape
        last = len(shape.kernels) - 1
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                shape.d_encoder,
                2 * (shape.d_model if number == last else shape.d_encoder),
                kernel,
                stride=2,
                padding=kernel // 2,
            )
            for number, kernel in enumerate(shape.kernels)
        )
        self.down = nn.Linear(shape.d_model, shape.d_inner, bias=False)
        self.up = nn.Linear(shape.d_inner, shape.d_model, bias=False)
        self.norm = nn.LayerNorm(shape.d_model)

    def output_lengths(self, lengths: Tensor) -> Tensor:
        """Positions: half of the frames, rounded up, once per convolution."""
        for _ in self.shape.kernels:
            lengths = (lengths + 1) // 2
        return lengths

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, d_encoder) frames, of which `lengths` (B,) are real -> (B, T, d_model) and (B,) positions.

        Frames past a row's length count as zeros after every convolution, so that padding changes no row.
        """
        if features.shape[2] != self.shape.d_encoder:
            raise ValueError(
                f"features have {features.shape[2]} numbers per frame, the adapter takes {self.shape.d_encoder}"
            )
        left = lengths.to(features.device)
        x = _cut(features.to(self.down.weight.dtype).transpose(1, 2), left)
        for convolution in self.convolutions:
            left = (left + 1) // 2
            x = _cut(nn.functional.glu(convolution(x), dim=1), left)
        x = x.transpose(1, 2)
        x = x + self.up(nn.functional.gelu(self.down(x)))
        return self.norm(x), self.output_lengths(lengths)


def _cut(x: Tensor, lengths: Tensor) -> Tensor:
    """(B, d, F) with zeros past each row's length."""
    return x * (torch.arange(x.shape[2], device=x.device) < lengths[:, None])[:, None]
