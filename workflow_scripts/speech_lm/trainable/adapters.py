"""Speech adapters: from encoder frames to positions of the language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

NOT_IN_RUN = -1e30
"""Logit of a position outside a run: finite, since gradients of rows without any run would be NaN otherwise."""
_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


def _at_least_one(shape: Any, *names: str) -> None:
    for name in names:
        if getattr(shape, name) < 1:
            raise ValueError(f"adapter {name} is {getattr(shape, name)}; it must be at least 1")


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
        _at_least_one(self, "d_encoder", "d_hidden", "d_model", "stack")

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for a JSON file; `AdapterShape(**d)` reverses it."""
        return asdict(self)


class Adapter(nn.Module):
    """What all adapters share: (B, F, d_encoder) frames and (B,) lengths -> (B, most T_s, d_model) and (B,) T_s."""

    def timed(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a call gives, and (B, most T_s): the position, of `stack` frames, at which each vector begins."""
        vectors, counts = self(features, lengths)
        return vectors, counts, _every_position(vectors)


def _every_position(vectors: Tensor) -> Tensor:
    """Starts (B, T) of vectors (B, T, d), one for each position."""
    return torch.arange(vectors.shape[1], device=vectors.device).expand(len(vectors), -1)


class SpeechAdapter(Adapter):
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
        _at_least_one(self, "d_encoder", "d_inner", "d_model")

    @property
    def stack(self) -> int:
        """Encoder frames per position."""
        return 2 ** len(self.kernels)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return {"kind": "conv", **asdict(self), "kernels": list(self.kernels)}


class ConvAdapter(Adapter):
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


class CtcHead(nn.Module):
    """Logits of a blank (class 0) and of tokens: outputs times the tokens' unit-length embeddings, which stay frozen.

    Only the blank's vector and bias are trained.
    """

    directions: Tensor

    def __init__(self, embeddings: Tensor) -> None:
        """embeddings: (classes - 1, d) token embeddings of the language model, of any length."""
        super().__init__()
        self.register_buffer("directions", nn.functional.normalize(embeddings.float(), dim=-1))
        self.blank = nn.Parameter(torch.zeros(embeddings.shape[1]))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, outputs: Tensor, tokens_asked: Tensor | None = None) -> Tensor:
        """(B, T_s, d) adapter outputs -> (B, T_s, classes) logits; of (n,) rows of the embeddings: (B, T_s, 1 + n)."""
        directions = self.directions if tokens_asked is None else self.directions[tokens_asked]
        tokens = outputs @ directions.to(outputs.dtype).T
        blank = (outputs @ self.blank.to(outputs.dtype) + self.bias.to(outputs.dtype))[..., None]
        return torch.cat([blank, tokens], dim=-1)


@dataclass(frozen=True)
class PosteriorAdapterShape(AdapterShape):
    """As `AdapterShape`, the number of tokens that the posterior is over, and whether their runs are collapsed."""

    n_tokens: int = 1
    collapse: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least_one(self, "n_tokens")

    def to_dict(self) -> dict[str, int | str]:
        """Plain values for a JSON file."""
        return {"kind": "posterior", **asdict(self)}


class PosteriorAdapter(SpeechAdapter):
    """On each position the mean of the language model's token embeddings under the CTC posterior; a blank adds nothing.

    Source: LegoSLM (arXiv 2505.11352); the zero vector for the blank is ours. A frozen language model reads its own
    embeddings with empty positions between them (docs/training.md), so it understands speech as well as CTC does before
    it has been trained on any. At the input alignment is imposed, as by the warm-up itself.

    With `collapse`, CTC's own rule is applied to the positions: a run of one likeliest token is one vector, the mean
    over the run under its posterior without the blank, and blanks are left out (compression by CTC, Gaido et al. 2021,
    arXiv 2102.01578). So T_s is the number of tokens heard, 1 at least.
    """

    shape: PosteriorAdapterShape
    lengths: Tensor

    def __init__(self, shape: PosteriorAdapterShape) -> None:
        super().__init__(shape)
        self.head = CtcHead(torch.ones(shape.n_tokens, shape.d_model))
        self.register_buffer("lengths", torch.ones(shape.n_tokens))

    @classmethod
    def of(
        cls, projection: SpeechAdapter, head: CtcHead, embeddings: Tensor, *, collapse: bool = False
    ) -> PosteriorAdapter:
        """The adapter made of what CTC trained; embeddings: (classes - 1, d), those that `head` was made with."""
        shape = PosteriorAdapterShape(**asdict(projection.shape), n_tokens=len(embeddings), collapse=collapse)
        adapter = cls(shape)
        trained = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
        lengths = embeddings.float().norm(dim=-1)
        adapter.load_state_dict({**projection.state_dict(), **trained, "lengths": lengths})
        return adapter

    def logits(self, features: Tensor, lengths: Tensor, tokens_asked: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, F, d_encoder) frames -> (B, ceil(F / stack), n_tokens + 1) CTC logits, blank first, (B,) positions.

        With `tokens_asked`, (n,) rows of the embeddings, the logits are those of the blank and of these n.
        """
        outputs, positions = super().forward(features, lengths)
        return self.head(outputs, tokens_asked), positions

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F, d_encoder) frames -> (B, ceil(F / stack), d_model) mean embeddings and (B,) positions.

        With `collapse`: (B, most tokens heard, d_model), zeros behind a row's own, and (B,) tokens heard.
        """
        return self.timed(features, lengths)[:2]

    def timed(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of all adapters; with `collapse`, a vector begins where its run does."""
        logits, positions = self.logits(features, lengths)
        if not self.shape.collapse:
            vectors = self._mean_embeddings(logits.float().softmax(dim=-1)[..., 1:], logits.dtype)
            return vectors, positions, _every_position(vectors)
        tokens = logits[..., 1:].float()
        vectors = self._mean_embeddings(tokens.softmax(dim=-1), logits.dtype)
        runs = token_runs(logits.argmax(dim=-1), positions)
        # Positions of a run weigh as much as they are no blank; in logarithms, since that may be nearly nothing.
        shares = tokens.logsumexp(dim=-1) - logits.float().logsumexp(dim=-1)
        weights = shares[:, None].masked_fill(~runs, NOT_IN_RUN).softmax(dim=-1).masked_fill(~runs, 0.0)
        counts = runs.any(dim=2).sum(dim=1).to(positions.device)
        return (weights @ vectors.float()).to(vectors.dtype), counts, runs.int().argmax(dim=2)

    def _mean_embeddings(self, posterior: Tensor, dtype: torch.dtype) -> Tensor:
        """(B, T, n_tokens) -> (B, T, d_model) token embeddings summed under a posterior."""
        return (posterior * self.lengths).to(dtype) @ self.head.directions.to(dtype)


def token_runs(best: Tensor, lengths: Tensor) -> Tensor:
    """(B, T) likeliest classes, of which `lengths` (B,) are real -> (B, R, T) bool: positions of each run of one token.

    R is the largest number of runs of a row. Blanks (class 0) are in no run; in a row of blanks alone all real
    positions are one.
    """
    places = torch.arange(best.shape[1], device=best.device)
    real = places < lengths.to(best.device)[:, None]
    best = best.where(real, 0)
    best = best.where((best != 0).any(dim=1, keepdim=True), real.to(best.dtype))
    token = best != 0
    before = nn.functional.pad(best, (1, 0))[:, :-1]
    number = (token & (best != before)).cumsum(dim=1) - 1
    n_runs = int(number.max()) + 1
    return token[:, None] & (number[:, None] == torch.arange(n_runs, device=best.device)[:, None])


Shape = AdapterShape | ConvAdapterShape | PosteriorAdapterShape


def shape_of(record: Mapping[str, Any]) -> Shape:
    """The shape that `to_dict` wrote. Raises KeyError or TypeError for a record of no known kind."""
    values = dict(record)
    kind = values.pop("kind", "stack")
    return {"stack": AdapterShape, "conv": ConvAdapterShape, "posterior": PosteriorAdapterShape}[kind](**values)


def new_adapter(shape: Shape) -> Adapter:
    """An adapter of that shape with torch's default initialisation."""
    kinds = {AdapterShape: SpeechAdapter, ConvAdapterShape: ConvAdapter, PosteriorAdapterShape: PosteriorAdapter}
    return kinds[type(shape)](shape)
