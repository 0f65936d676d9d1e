"""One batch of questions under every patch, from the shared prefill of both forms.

Both forms of each question, and of its partner, are run once, the reference answer forced behind them; the inputs of
all layers are kept for this batch only. A patched row then computes the layers from the first patched one up, at the
positions from the first patched one on (`probing.edited_prompts`). Rows that start at the same layer share batches,
like lengths together.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.artifacts.patches import OTHER, PATCH, RANDOM, TO_SPEECH, TO_TEXT, PatchRecord
from workflow_scripts.patching.outcomes import Outcome
from workflow_scripts.patching.positions import ONE_TOKEN, Exchange, Path, elsewhere, exchange
from workflow_scripts.settings.patching import PatchingSettings
from workflow_scripts.speech_lm.anatomy import causal_lm
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.decoding.branches import n_columns
from workflow_scripts.speech_lm.decoding.packed_linears import packed_linears
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.probing.edited_prompts import Probed, SharedPrompts
from workflow_scripts.speech_lm.protocol import Edit, Query, SpeechLMError

MOST_ROWS, MOST_POSITIONS = 64, 2**13
"""At most so many patched rows, and rows times longest prompt, in one pass: each has keys and values of its own."""
LEAST_SHARE = 0.6
"""Of a batch's longest row: a patch of the last position is not padded to one of the whole query."""
LEAST_LOG_PROB = -1e4
"""Stands for the logarithm of a probability of 0 in KL."""


Key = tuple[int, str, str, int]
"""Place of the question in the batch, position class, source of the new states, window."""


@dataclass(frozen=True)
class Item:
    """One question.

    Attributes:
        id, kind: as recorded. spoken, written: its queries. path: between them. outcome: what is read.
        partner: spoken and written query of another question of like length; None if the shard has no other.
    """

    id: str
    kind: str
    spoken: Query
    written: Query
    path: Path
    outcome: Outcome
    partner: tuple[Query, Query] | None


@dataclass(frozen=True)
class Reading:
    """An unpatched run: its outcome, next-token probabilities (V,) float64 and their sum of p ln p."""

    value: float
    probabilities: Tensor
    negative_entropy: float

    @classmethod
    def of(cls, probed: Probed, outcome: Outcome) -> "Reading":
        """From a probe."""
        logs = probed.first.double()
        p = logs.exp()
        entropy = float(torch.where(p > 0, p * logs, 0.0).sum())
        return cls(outcome.read(probed.log_probs), p, entropy)

    def kl(self, first: Tensor) -> float:
        """KL(this || other), nats, of the other's log-probabilities (V,); never below 0."""
        return max(0.0, self.negative_entropy - float(self.probabilities @ first.double().clamp(min=LEAST_LOG_PROB)))

    def agrees(self, first: Tensor) -> bool:
        """Whether the most likely token is the same."""
        return int(self.probabilities.argmax()) == int(first.argmax())


def sweep_batch(lm: DecoderSpeechLM, items: Sequence[Item], settings: PatchingSettings, seed: int) -> list[PatchRecord]:
    """Records of a batch of questions: both directions, all classes, windows, layers and sources.

    Raises:
        SpeechLMError: a layer does not exist, logits are not finite, or writing back a run's own states changed it.
    """
    with torch.no_grad(), packed_linears(lm.model, n_steps=len(items) * lm.n_layers, n_rows=MOST_ROWS):
        return _records(lm, items, settings, seed)


def _records(lm: DecoderSpeechLM, items: Sequence[Item], settings: PatchingSettings, seed: int) -> list[PatchRecord]:
    found: list[PatchRecord] = []
    classes = [name for name in settings.positions if name != "answer"]
    if classes:
        found += _both_directions(lm, items, [item.outcome for item in items], classes, settings, seed)
    if "answer" in settings.positions:
        continued = [(item, item.outcome.after_first()) for item in items]
        for item in (item for item, rest in continued if rest is None):
            found += [_skip(item, direction, "answer", ONE_TOKEN) for direction in (TO_SPEECH, TO_TEXT)]
        longer = [(with_token(lm, item, rest[0]), rest[1]) for item, rest in continued if rest is not None]
        if longer:
            asked, outcomes = [item for item, _ in longer], [outcome for _, outcome in longer]
            found += _both_directions(lm, asked, outcomes, ["answer"], settings, seed)
    return found


@torch.no_grad()
def with_token(lm: DecoderSpeechLM, item: Item, token: int) -> Item:
    """The item, all its prompts followed by a token of the answer."""
    embedded = causal_lm(lm.model).get_input_embeddings()(torch.tensor([token], device=lm.device))

    def longer(query: Query) -> Query:
        embeds = lm.embed(query)
        whole = torch.cat([embeds, embedded.to(embeds.dtype)])
        return replace(query, inputs={"inputs_embeds": whole[None]}, length=len(whole))

    partner = None if item.partner is None else (longer(item.partner[0]), longer(item.partner[1]))
    return replace(item, spoken=longer(item.spoken), written=longer(item.written), partner=partner)


def _both_directions(
    lm: DecoderSpeechLM,
    items: Sequence[Item],
    outcomes: Sequence[Outcome],
    classes: Sequence[str],
    settings: PatchingSettings,
    seed: int,
) -> Iterator[PatchRecord]:
    firsts = sorted(settings.layers or range(lm.n_layers))
    if firsts[-1] < lm.n_layers < firsts[0] + max(settings.windows):
        raise SpeechLMError(
            f"patching.windows {sorted(settings.windows)}: {lm.name} has layers 0 to {lm.n_layers - 1} to patch, the "
            f"first one asked for is {firsts[0]}; shorten the windows"
        )
    layers = sorted({one for first in firsts for one in range(first, first + max(settings.windows))})
    layers = [layer for layer in layers if layer < lm.n_layers or layer in firsts]
    room = max(1, *(n_columns(outcome.branches) for outcome in outcomes))
    # One continuation is run with the prompt; several have to see the prompt, and not each other.
    single = all(len(outcome.branches) == 1 for outcome in outcomes)
    forced = [outcome.branches[0] for outcome in outcomes] if single else None

    def shared(queries: Sequence[Query], following: Sequence[Sequence[int]] | None = None) -> SharedPrompts:
        nothing = [None] * len(queries)
        return SharedPrompts(lm, queries, nothing, max_new_tokens=room, layers=layers, following=following)

    spoken, written = (shared([getattr(item, form) for item in items], forced) for form in ("spoken", "written"))
    partners = [item.partner for item in items if item.partner is not None]
    others = [shared([pair[form] for pair in partners]) for form in (0, 1)] if len(partners) == len(items) else None
    for direction, into, source, other in (
        (TO_SPEECH, spoken, written, others and others[1]),
        (TO_TEXT, written, spoken, others and others[0]),
    ):
        yield from _Direction(direction, items, outcomes, into, source, other, settings, seed).records(classes, firsts)


class _Direction:
    """The patches of a batch in one direction: `into` is patched with states of `source`, and of `other` as null."""

    def __init__(
        self,
        name: str,
        items: Sequence[Item],
        outcomes: Sequence[Outcome],
        into: SharedPrompts,
        source: SharedPrompts,
        other: SharedPrompts | None,
        settings: PatchingSettings,
        seed: int,
    ) -> None:
        self.name, self.items, self.outcomes = name, items, outcomes
        self.into, self.source, self.other = into, source, other
        self.windows, self.seed = sorted(settings.windows), seed

    def records(self, classes: Sequence[str], firsts: Sequence[int]) -> Iterator[PatchRecord]:
        """All records, class by class of each question."""
        base, target = self._unpatched(self.into), self._unpatched(self.source)
        places: dict[tuple[int, str], Exchange] = {}
        for row, item in enumerate(self.items):
            for name in classes:
                made = exchange(name, self.into.queries[row], self.source.queries[row], item.path)
                if isinstance(made, str):
                    yield _skip(item, self.name, name, made)
                else:
                    places[row, name] = made
        cells: dict[Key, list[tuple[int, float, float, bool]]] = {}
        for first in firsts:
            self._check_no_op(first, [made.into for (row, _), made in places.items() if row == 0])
            for key, *read in self._patched(first, places, target):
                cells.setdefault(key, []).append((first, *read))
        for key in sorted(cells):
            row, name, source, window = key
            layers, values, kl, agrees = (list(column) for column in zip(*cells[key]))
            yield PatchRecord(
                id=self.items[row].id,
                kind=self.items[row].kind,
                direction=self.name,
                positions=name,
                source=source,
                window=window,
                n_positions=len(places[row, name].into),
                layers=layers,
                values=values,
                kl=kl,
                agrees=agrees,
                base=base[row].value,
                target=target[row].value,
                base_kl=target[row].kl(base[row].probabilities.log()),
            )

    def _unpatched(self, shared: SharedPrompts) -> list[Reading]:
        rows = range(len(self.items))
        found = shared.probe(rows, [[] for _ in rows], self._branches(rows))
        return [Reading.of(*one) for one in zip(found, self.outcomes)]

    def _branches(self, rows: Sequence[int]) -> list[list[list[int]]] | None:
        """What `probe` is to read of these questions."""
        return None if self.into.following is not None else [self.outcomes[row].branches for row in rows]

    def _patched(
        self, first: int, places: Mapping[tuple[int, str], Exchange], target: Sequence[Reading]
    ) -> Iterator[tuple[Key, float, float, bool]]:
        """Outcome, KL and agreement with the target run, under all patches whose lowest layer is `first`."""
        edits = self._edits(first, places)
        keys = list(edits)
        lengths = [self.into.queries[key[0]].length - int(edits[key][0].positions.min()) for key in keys]
        longest = max(query.length for query in self.into.queries)
        most = max(1, min(MOST_ROWS, MOST_POSITIONS // longest))
        for group in batches(lengths, most, MOST_POSITIONS, LEAST_SHARE):
            chosen = [keys[index] for index in group]
            rows = [key[0] for key in chosen]
            probed = self.into.probe(rows, [edits[key] for key in chosen], self._branches(rows))
            for key, one in zip(chosen, probed):
                run, value = target[key[0]], self.outcomes[key[0]].read(one.log_probs)
                yield key, value, run.kl(one.first), run.agrees(one.first)

    def _edits(self, first: int, places: Mapping[tuple[int, str], Exchange]) -> dict[Key, list[Edit]]:
        """Edits of every question, class, source and window from layer `first` up."""
        edits: dict[Key, list[Edit]] = {}
        for (row, name), made in places.items():
            by_source: dict[str, list[Edit]] = {}
            for layer in range(first, min(first + self.windows[-1], self.into.lm.n_layers)):
                for source, values in self._values(row, name, layer, made).items():
                    by_source.setdefault(source, []).append(Edit(layer, torch.from_numpy(made.into), values))
            for source, every in by_source.items():
                for window in (window for window in self.windows if window <= len(every)):
                    edits[row, name, source, window] = every[:window]
        return edits

    def _values(self, row: int, name: str, layer: int, made: Exchange) -> dict[str, Tensor]:
        """New states (n, d) by source."""
        own = self.into.inputs[layer][row, torch.from_numpy(made.into)]
        patch = self.source.inputs[layer][row, torch.from_numpy(made.source)]
        found = {PATCH: patch}
        if self.other is not None:
            places = elsewhere(made.source, self.source.queries[row], self.other.queries[row])
            found[OTHER] = self.other.inputs[layer][row, torch.from_numpy(places)]
        key = [self.seed, zlib.crc32(self.items[row].id.encode()), zlib.crc32(f"{self.name} {name}".encode()), layer]
        drawn = torch.from_numpy(np.random.default_rng(key).standard_normal(own.shape)).to(own.device, torch.float32)
        shift = (patch.float() - own.float()).norm(dim=1, keepdim=True)
        found[RANDOM] = (own.float() + shift * drawn / drawn.norm(dim=1, keepdim=True)).to(own.dtype)
        return found

    def _check_no_op(self, layer: int, positions: Sequence[np.ndarray]) -> None:
        """Writing a run's own states back changes nothing, bit by bit: the first question, all classes at once.

        Raises:
            SpeechLMError: it does; then no patch could be trusted.
        """
        if not positions:
            return
        places = torch.from_numpy(np.unique(np.concatenate(positions)))
        branches, start = self._branches([0]), [int(places.min())]
        own = Edit(layer, places, self.into.inputs[layer][0, places])
        [plain] = self.into.probe([0], [[]], branches, start, layer)
        [same] = self.into.probe([0], [[own]], branches, start, layer)
        equal = all(torch.equal(*pair) for pair in zip(plain.log_probs, same.log_probs))
        if not equal or not torch.equal(plain.first, same.first):
            raise SpeechLMError(
                f"{self.into.lm.name}: writing back the states of question {self.items[0].id!r} at layer {layer} "
                "changed what follows: what is read at this layer is not what is edited, or the device is not "
                "deterministic; check the model with `python -m workflow_scripts.check_model`"
            )


def _skip(item: Item, direction: str, positions: str, reason: str) -> PatchRecord:
    return PatchRecord(id=item.id, kind=item.kind, direction=direction, positions=positions, skipped=reason)
