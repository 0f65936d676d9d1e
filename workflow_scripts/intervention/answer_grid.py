"""One batch of questions under every cell of the grid: edits are made first, then answered in common batches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from workflow_scripts.intervention.grid import Cell
from workflow_scripts.intervention.measured_paths import ShardContext, paths_of
from workflow_scripts.intervention.oracles import with_transcript
from workflow_scripts.intervention.question_edits import CellEdits, EditMaker, QuestionStates
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.settings.intervention import BASELINE, TEXT
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.probing.edited_prompts import EditedAnswer, SharedPrompts
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, Edit, Query, SpeechLMError
from workflow_scripts.speech_lm.shard_queries import SpokenShard

MOST_ROWS, MOST_POSITIONS = 32, 2**13
"""At most so many rows, and rows times longest prompt, in a batch, whatever evaluation takes: keys and values are there
twice, those of the prompts and those of the rows, and each batch is as long as its longest row (ours)."""


@dataclass(frozen=True)
class GridAnswer:
    """One question under one cell: its answer, the reference's loss, KL(text || this) at the first answer token."""

    answer: Answer
    loss: AnswerLoss | None
    kl_first: float
    made: CellEdits = field(default_factory=CellEdits)


def answer_batch(
    lm: DecoderSpeechLM,
    asked: SpokenShard,
    numbers: Sequence[int],
    context: ShardContext,
    cells: Sequence[Cell],
    oracles: Sequence[str],
    batching: EvaluationSettings,
    max_new_tokens: int,
) -> dict[str, list[GridAnswer]]:
    """Answers by key, one per question: unedited, written, each cell, each oracle.

    Raises:
        SpeechLMError: a no-op edit changed a token.
    """
    ids = [asked.ids[number] for number in numbers]
    references = [reference_answer(asked.questions[number]) for number in numbers]
    spoken = [asked.spoken(lm, number) for number in numbers]
    written = [asked.written(lm, number) for number in numbers]
    layers = sorted({cell.layer or 0 for cell in cells} | {0})
    shared = SharedPrompts(lm, spoken, references, max_new_tokens=max_new_tokens, layers=layers)
    states = _question_states(lm, asked, numbers, context, cells, spoken, written)
    made = {cell.key: _made(shared, cell, states) for cell in cells}
    plain = SharedPrompts(lm, written, references, max_new_tokens=max_new_tokens)
    found = {TEXT: _whole(plain)}
    targets = [one.first for one in found[TEXT]]
    no_ops = [cell for cell in cells if cell.entry.operation == "no_op"]
    found[BASELINE] = _unedited(shared, no_ops[0] if no_ops else None, made)
    for cell in no_ops:
        found[cell.key] = shared.answer(
            range(len(ids)),
            [one.edits for one in made[cell.key]],
            _starts(shared, made[cell.key]),
            layer=cell.layer or 0,
        )
        unedited = found[BASELINE] if cell is no_ops[0] else _unedited(shared, cell, made)
        check_unchanged(cell.key, ids, unedited, found[cell.key])
    others = [cell for cell in cells if cell not in no_ops]
    found |= _in_common_batches(shared, others, made, found[BASELINE], batching)
    for name in oracles:
        queries = [with_transcript(lm, *pair) for pair in zip(spoken, written)]
        found[name] = _whole(SharedPrompts(lm, queries, references, max_new_tokens=max_new_tokens))
    order = [BASELINE, TEXT, *(cell.key for cell in cells), *oracles]
    nothing = [CellEdits() for _ in ids]
    return {
        key: [
            GridAnswer(one.answer, one.loss, kl(target, one.first), edits)
            for one, target, edits in zip(found[key], targets, made.get(key, nothing))
        ]
        for key in order
    }


def check_unchanged(
    name: str, ids: Sequence[str], unedited: Sequence[EditedAnswer], no_op: Sequence[EditedAnswer]
) -> None:
    """Check that writing back the values that were there changes nothing: tokens, losses and probabilities, bit by bit.

    Raises:
        SpeechLMError: it does; then no difference under the other edits could be trusted.
    """
    for question, before, after in zip(ids, unedited, no_op):
        same = (before.answer.token_ids, before.answer.finish_reason, before.loss) == (
            after.answer.token_ids,
            after.answer.finish_reason,
            after.loss,
        )
        if not same or not torch.equal(before.first, after.first):
            raise SpeechLMError(
                f"edit {name!r} writes back the values it finds, yet the answer to question {question!r} changed from "
                f"{before.answer.text!r} to {after.answer.text!r} (or its probabilities): what is read at this layer "
                "is not what is edited, or the device is not deterministic; check the model with speech_lm.self_check"
            )


def kl(target: Tensor, other: Tensor) -> float:
    """KL(target || other) of two (V,) float32 log-probabilities, nats, summed in float64; never below 0."""
    p = target.double()
    terms = p.exp() * (p - other.double())
    return max(0.0, float(torch.where(p.isneginf(), 0.0, terms).sum()))


def _question_states(
    lm: DecoderSpeechLM,
    asked: SpokenShard,
    numbers: Sequence[int],
    context: ShardContext,
    cells: Sequence[Cell],
    spoken: list[Query],
    written: list[Query],
) -> list[QuestionStates]:
    text = lm.states(written)
    others: list[Tensor | None] = [None] * len(numbers)
    if context.partner is not None and any(cell.control == "other_question" for cell in cells):
        others = list(lm.states([asked.written(lm, context.partner[number]) for number in numbers]))
    # Speech states of all layers are needed for warping paths only, so they are computed on demand.
    cache: dict[int, Tensor] = {}

    def all_states(place: int) -> tuple[np.ndarray, np.ndarray]:
        if not cache:
            cache.update(enumerate(lm.states(spoken)))
        return cache[place].float().numpy(), text[place].float().numpy()

    return [
        QuestionStates(
            id=asked.ids[number],
            seed=context.seed,
            spoken=spoken[place],
            written=written[place],
            text=text[place],
            other_text=others[place],
            paths=paths_of(
                context, asked.ids[number], spoken[place], written[place], lambda place=place: all_states(place)
            ),
            mean_lengths=context.mean_lengths,
            erasures={key: one.of[asked.ids[number]] for key, one in context.erasures.items()},
        )
        for place, number in enumerate(numbers)
    ]


def _made(shared: SharedPrompts, cell: Cell, states: Sequence[QuestionStates]) -> list[CellEdits]:
    """The cell's edits of every question."""
    makers = [EditMaker(cell, one) for one in states]
    if cell.layer is not None:
        return [maker.at_one_layer(shared.states(row, cell.layer)) for row, maker in enumerate(makers)]
    rewrites = [maker.at_every_layer() for maker in makers]
    edits = shared.resolve(range(len(states)), lambda row, layer, speech: rewrites[row](layer, speech))
    for maker, one in zip(makers, edits):
        maker.found.edits = one
    return [maker.finished() for maker in makers]


def _whole(shared: SharedPrompts) -> list[EditedAnswer]:
    rows = range(len(shared.queries))
    return shared.answer(rows, [[] for _ in rows])


def _starts(shared: SharedPrompts, made: Sequence[CellEdits]) -> list[int]:
    """First edited position of each row, the last of the prompt where nothing is edited."""
    return [
        min((int(edit.positions.min()) for edit in one.edits), default=query.length - 1)
        for query, one in zip(shared.queries, made)
    ]


def _unedited(shared: SharedPrompts, no_op: Cell | None, made: dict[str, list[CellEdits]]) -> list[EditedAnswer]:
    """Unedited answers, on the very shapes of the no-op edit if there is one."""
    if no_op is None:
        return _whole(shared)
    rows = range(len(shared.queries))
    return shared.answer(rows, [[] for _ in rows], _starts(shared, made[no_op.key]), layer=no_op.layer or 0)


def _in_common_batches(
    shared: SharedPrompts,
    cells: Sequence[Cell],
    made: dict[str, list[CellEdits]],
    unedited: list[EditedAnswer],
    batching: EvaluationSettings,
) -> dict[str, list[EditedAnswer]]:
    """Answers by cell: rows that start at the same layer share batches, like lengths together.

    Rows without edits take the unedited answer; equal edits of a question are decoded once.
    """
    items: dict[tuple, tuple[int, list[Edit], int]] = {}
    keys: dict[str, list[tuple | None]] = {}
    for cell in cells:
        keys[cell.key] = []
        for row, one in enumerate(made[cell.key]):
            key = _identity(row, one.edits) if one.edits else None
            keys[cell.key].append(key)
            if key is not None:
                items[key] = (row, one.edits, cell.layer or 0)
    answered = answer_rows(shared, items, batching)
    return {
        name: [unedited[row] if key is None else answered[key] for row, key in enumerate(own)]
        for name, own in keys.items()
    }


def answer_rows(
    shared: SharedPrompts, items: Mapping[Any, tuple[int, Sequence[Edit], int]], batching: EvaluationSettings
) -> dict[Any, EditedAnswer]:
    """Answers to (prompt, edits, layer to start from) items; rows of one layer and of like lengths share batches."""
    by_layer: dict[int, list[Any]] = {}
    for key, (_, _, layer) in items.items():
        by_layer.setdefault(layer, []).append(key)
    found: dict[Any, EditedAnswer] = {}
    for layer, keys in by_layer.items():
        lengths = []
        for row, edits, _ in (items[key] for key in keys):
            lengths.append(shared.queries[row].length - min(int(edit.positions.min()) for edit in edits))
        for group in batches(lengths, *even_batches(len(lengths), batching)):
            chosen = [keys[index] for index in group]
            rows, edits = [items[key][0] for key in chosen], [items[key][1] for key in chosen]
            found |= dict(zip(chosen, shared.answer(rows, edits, layer=layer)))
    return found


def even_batches(n: int, batching: EvaluationSettings) -> tuple[int, int]:
    """Rows of a batch such that the last one is not much smaller than the others, and the positions allowed."""
    parts = -(-n // min(batching.batch_size, MOST_ROWS))
    return -(-n // parts), min(batching.max_positions, MOST_POSITIONS)


def _identity(row: int, edits: Sequence[Edit]) -> tuple:
    """Equal for edits that do the same to the same prompt."""
    return (
        row,
        *((edit.layer, edit.positions.numpy().tobytes(), edit.values.numpy().tobytes()) for edit in edits),
    )
