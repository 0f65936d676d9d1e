"""How differently a checkpoint goes on after the spoken and the written question: KL by response position (ours).

For the first questions of every analysed subset's first shard (shards are seeded samples) and three shared prefixes,
the reference answer and the model's own answers to the text and to the speech, cut at `positions` tokens:

    forward, reverse   KL(p_text || p_speech) and KL(p_speech || p_text) of the next token, full vocabulary
    forgetting         KL(p_base || p_tuned) after the written question, on the prefix sampled from text
    similarity         cosine of the states of the same answer token after text and after speech, by layer, on the same
                       prefix; its null takes another question's answer from the same batch, token by token

One batch is in memory at a time. Bad logits are an error of the model, which names it.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import reference_answer
from workflow_scripts.artifacts.responses import Responses, write_responses
from workflow_scripts.measures.divergence import kl_divergence, log_softmax
from workflow_scripts.settings.analysis import ResponseSettings
from workflow_scripts.speech_lm.base import DecoderSpeechLM
from workflow_scripts.speech_lm.batching import batches
from workflow_scripts.speech_lm.loading import load_speech_lm
from workflow_scripts.speech_lm.responses import ForcedResponse, forced_responses
from workflow_scripts.speech_lm.spoken_shard import SpokenShard, read_spoken_shard
from workflow_scripts.speech_lm.trained import open_trained

logger = logging.getLogger(__name__)

PREFIXES = ("reference", "text", "speech")
SHARED = "text"
"""The prefix of forgetting and of the similarity of states: every question has it."""
BATCH, MAX_POSITIONS = 16, 4096

Item = tuple[SpokenShard, int, dict[str, list[int]]]


def measure_responses(
    questions: Sequence[Path],
    manifest: Sequence[Path],
    features: Sequence[Path],
    text: Sequence[Path],
    speech: Sequence[Path],
    model: Path,
    backbone: Path,
    encoder: Path,
    responses: Path,
    *,
    checkpoint: str,
    shards: Sequence[str],
    settings: Mapping[str, Any],
    system_prompt: str | None,
    seed: int,
) -> None:
    """Write the responses file of one checkpoint.

    Args:
        questions, manifest, features: of every analysed subset. text, speech: the checkpoint's own answers to the first
            shard of each, in the same order; shards: the names of these shards.
        seed: of the split into shards.

    Raises:
        ArtifactError: files do not hold the same questions.
    """
    chosen = ResponseSettings.model_validate(settings)
    trained = open_trained(model, checkpoint, backbone=backbone, encoder=encoder, system_prompt=system_prompt)
    base = load_speech_lm(
        backbone=backbone.parent, checkpoint=None, encoder=None, system_prompt=system_prompt, name="base"
    )
    items: list[Item] = []
    for *files, written, spoken, shard in zip(questions, manifest, features, text, speech, shards, strict=True):
        asked = read_spoken_shard(*files, shard, seed)
        items += _items(asked, written, spoken, trained.lm.tokenizer, chosen)
    content = respond(trained.lm, base, items, chosen.positions)
    facts = trained.facts | {"seed": seed, "provenance": provenance(dict(settings) | {"system_prompt": system_prompt})}
    write_responses(responses, _with(content, facts))
    logger.info("%d questions, up to %d response positions", len(items), chosen.positions)


def _items(asked: SpokenShard, written: Path, spoken: Path, tokenizer: Any, chosen: ResponseSettings) -> list[Item]:
    """The chosen questions with their prefixes as token ids; an empty answer gives no prefix."""
    answers = {form: {row.id: row.token_ids for row in ANSWERS.read(path)} for form, path in
               (("text", written), ("speech", spoken))}  # fmt: skip
    found = []
    for number, question in list(enumerate(asked.questions))[: chosen.questions]:
        for form, path in (("text", written), ("speech", spoken)):
            if question.id not in answers[form]:
                raise ArtifactError(f"{path}: no answer to question {question.id!r}; delete it and run again")
        reference = reference_answer(question)
        ids = [] if reference is None else tokenizer(reference, add_special_tokens=False)["input_ids"]
        prefixes = {"reference": ids, **{form: answers[form][question.id] for form in ("text", "speech")}}
        found.append((asked, number, {name: list(ids[: chosen.positions]) for name, ids in prefixes.items() if ids}))
    return found


def respond(lm: DecoderSpeechLM, base: DecoderSpeechLM | None, items: Sequence[Item], positions: int) -> Responses:
    """All measures of `items`; without `base` no forgetting."""
    n, depth = len(items), lm.n_layers + 1
    names = [(kind, prefix) for kind in ("forward", "reverse") for prefix in PREFIXES] + [("forgetting", SHARED)]
    divergence = {name: np.full((n, positions), np.nan) for name in names}
    similarity, null = np.full((n, depth), np.nan), np.full((n, depth), np.nan)
    for prefix in PREFIXES:
        having = [number for number, (_, _, ids) in enumerate(items) if prefix in ids]
        lengths = [
            max(asked.written(lm, k).length, asked.spoken(lm, k).length) + len(ids[prefix])
            for asked, k, ids in (items[number] for number in having)
        ]
        grouped = batches(lengths, BATCH, MAX_POSITIONS)
        for group in progress(grouped, len(grouped), f"{prefix} prefix: batches"):
            numbers = [having[place] for place in group]
            own = [items[number] for number in numbers]
            ids = [prefixes[prefix] for _, _, prefixes in own]
            written = forced_responses(lm, [asked.written(lm, k) for asked, k, _ in own], ids)
            spoken = forced_responses(lm, [asked.spoken(lm, k) for asked, k, _ in own], ids)
            untuned: list[ForcedResponse | None] = [None] * len(own)
            if base is not None and prefix == SHARED:
                untuned = list(forced_responses(base, [asked.written(base, k) for asked, k, _ in own], ids))
            for place, number in enumerate(numbers):
                p, q = log_softmax(written[place].logits), log_softmax(spoken[place].logits)
                divergence["forward", prefix][number, : len(p)] = kl_divergence(p, q)
                divergence["reverse", prefix][number, : len(p)] = kl_divergence(q, p)
                if (before := untuned[place]) is not None:
                    divergence["forgetting", prefix][number, : len(p)] = kl_divergence(log_softmax(before.logits), p)
                if prefix == SHARED:
                    similarity[number] = token_cosines(written[place].states, spoken[place].states)
                    if len(own) > 1:
                        other = spoken[(place + 1) % len(own)].states
                        null[number] = token_cosines(written[place].states, other)
    ids, subsets = zip(*((asked.ids[k], asked.questions[k].subset) for asked, k, _ in items))
    return Responses(list(ids), list(subsets), divergence, similarity, null, {})


def token_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean over answer tokens of the cosine of states (L+1, K, d), as many tokens as both have: (L+1,) float64.

    A zero vector has cosine 0.
    """
    common = min(first.shape[1], second.shape[1])
    a, b = (states[:, :common].astype(np.float64) for states in (first, second))
    product = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    inner = (a * b).sum(axis=2)
    return np.divide(inner, product, out=np.zeros_like(inner), where=product > 0).mean(axis=1)


def _with(content: Responses, facts: Mapping[str, Any]) -> Responses:
    return Responses(**(vars(content) | {"attributes": facts}))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: measure_responses(
            *(
                [Path(path) for path in s.input[name]]
                for name in ("questions", "manifest", "features", "text", "speech")
            ),
            *(Path(s.input[name]) for name in ("model", "backbone", "encoder")),
            Path(s.output.responses),
            **{name: s.params[name] for name in ("checkpoint", "shards", "settings", "system_prompt", "seed")},
        ),
    )
