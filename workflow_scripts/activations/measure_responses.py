"""How differently a checkpoint goes on after the spoken and the written question: KL by response position (ours).

For the first questions of every analysed subset's first shard (shards are seeded samples) and three shared prefixes,
the reference answer and the model's own answers to the text and to the speech, cut at `positions` tokens:

    forward, reverse   KL(p_text || p_speech) and KL(p_speech || p_text) of the next token, full vocabulary
    forgetting         KL(p_base || p_tuned) after the written question, on the prefix sampled from text
    similarity         cosine of the states of the same answer token after text and after speech, by layer, on the same
                       prefix; its null takes another question's answer from the same batch, token by token

Where asked for, the logit lens at the speech positions (`read_lens`). One batch is in memory at a time.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.activations.read_lens import Looked, check_times, read_lens
from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.responses import Responses, write_responses
from workflow_scripts.artifacts.word_times import WORD_TIMES
from workflow_scripts.measures.divergence import kl_divergence, log_softmax
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.settings.analysis import ResponseSettings
from workflow_scripts.speech_lm.decoding.batching import batches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.opening.open_model import ModelSource, open_model
from workflow_scripts.speech_lm.probing.forced_responses import ForcedResponse, forced_responses
from workflow_scripts.speech_lm.shard_queries import SpokenShard, read_spoken_shard

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
    words: Sequence[Path],
    model: ModelSource,
    responses: Path,
    *,
    shards: Sequence[str],
    settings: Mapping[str, Any],
    seed: int,
) -> None:
    """Write the responses file of one checkpoint.

    Args:
        questions, manifest, features: of every analysed subset. text, speech: the checkpoint's own answers to the first
            shard of each, in the same order; shards: the names of these shards.
        words: when their words are spoken, for the logit lens, which costs more than all the rest; empty for none.
        seed: of the split into shards.

    Raises:
        ArtifactError: files do not hold the same questions, or word times of another prompt.
    """
    chosen = ResponseSettings.model_validate(settings)
    trained = open_model(model)
    base = load_composite(
        backbone=model.backbone.parent,
        checkpoint=None,
        encoder=None,
        system_prompt=model.system_prompt,
        name="base",
    )
    items: list[Item] = []
    looked: list[Looked] = []
    timed = words or [None] * len(shards)
    for *files, written, spoken, times, shard in zip(
        questions, manifest, features, text, speech, timed, shards, strict=True
    ):
        asked = read_spoken_shard(*files, shard, seed)
        items += _items(asked, written, spoken, trained.lm.tokenizer, chosen)
        if times is not None:
            looked += _looked(asked, times, min(chosen.questions, chosen.lens_questions))
    content = respond(trained.lm, base, items, chosen.positions)
    if words:
        layers = np.unique(np.linspace(0, trained.lm.n_layers, chosen.lens_layers).round().astype(int))
        lens, read = read_lens(trained.lm, looked, layers.tolist())
        content = replace(content, lens=lens, words=read)
    used = provenance(dict(settings) | {"system_prompt": model.system_prompt})
    facts = trained.facts | {"seed": seed, "provenance": used}
    write_responses(responses, replace(content, attributes=facts))
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


def _looked(asked: SpokenShard, path: Path, questions: int) -> list[Looked]:
    """The first questions with their word times."""
    times = {one.id: one for one in WORD_TIMES.read(path)}
    first = asked.ids[:questions]
    if missing := [name for name in first if name not in times]:
        raise ArtifactError(f"{path}: no word times of question(s) {missing[:5]}; delete it and run again")
    found = [Looked(asked, place, times[name]) for place, name in enumerate(first)]
    check_times(found, path)
    return found


def respond(lm: DecoderSpeechLM, base: DecoderSpeechLM | None, items: Sequence[Item], positions: int) -> Responses:
    """All measures of `items`; without `base` no forgetting."""
    n, depth = len(items), lm.n_layers + 1
    names = [(kind, prefix) for kind in ("forward", "reverse") for prefix in PREFIXES] + [("forgetting", SHARED)]
    divergence = {name: np.full((n, positions), np.nan) for name in names}
    similarity, null = np.full((n, depth), np.nan), np.full((n, depth), np.nan)
    lengths = [
        max(asked.written(lm, k).length, asked.spoken(lm, k).length) + sum(map(len, ids.values()))
        for asked, k, ids in items
    ]
    grouped = batches(lengths, BATCH, MAX_POSITIONS)
    for group in progress(grouped, len(grouped), "batches of responses"):
        own = [items[number] for number in group]
        ids = [list(prefixes.values()) for _, _, prefixes in own]
        written = forced_responses(lm, [asked.written(lm, k) for asked, k, _ in own], ids)
        spoken = forced_responses(lm, [asked.spoken(lm, k) for asked, k, _ in own], ids)
        shared = [prefixes.get(SHARED) for _, _, prefixes in own]
        untuned = _untuned(base, own, shared)
        states = []
        for place, number in enumerate(group):
            for prefix, by_text, by_speech in zip(own[place][2], written[place], spoken[place]):
                p, q = log_softmax(by_text.logits), log_softmax(by_speech.logits)
                divergence["forward", prefix][number, : len(p)] = kl_divergence(p, q)
                divergence["reverse", prefix][number, : len(p)] = kl_divergence(q, p)
                if prefix == SHARED:
                    states.append((number, by_text.states, by_speech.states))
                    if place in untuned:
                        before = log_softmax(untuned[place].logits)
                        divergence["forgetting", prefix][number, : len(p)] = kl_divergence(before, p)
        for place, (number, text, speech) in enumerate(states):
            similarity[number] = token_cosines(text, speech)
            if len(states) > 1:
                null[number] = token_cosines(text, states[(place + 1) % len(states)][2])
    ids, subsets = zip(*((asked.ids[k], asked.questions[k].subset) for asked, k, _ in items))
    return Responses(list(ids), list(subsets), divergence, similarity, null, {})


def _untuned(
    base: DecoderSpeechLM | None, own: Sequence[Item], shared: Sequence[list[int] | None]
) -> dict[int, ForcedResponse]:
    """The untuned model on the shared prefix after the written question, by place in the batch."""
    places = [place for place, ids in enumerate(shared) if ids]
    if base is None or not places:
        return {}
    queries = [own[place][0].written(base, own[place][1]) for place in places]
    found = forced_responses(base, queries, [[shared[place] or []] for place in places])
    return {place: one[0] for place, one in zip(places, found)}


def token_cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Mean over answer tokens of the cosine of states (L+1, K, d), as many tokens as both have: (L+1,) float64.

    A zero vector has cosine 0.
    """
    common = min(first.shape[1], second.shape[1])
    a, b = (states[:, :common].astype(np.float64) for states in (first, second))
    product = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    inner = (a * b).sum(axis=2)
    return np.divide(inner, product, out=np.zeros_like(inner), where=product > 0).mean(axis=1)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: measure_responses(
            *(
                [Path(path) for path in s.input[name]]
                for name in ("questions", "manifest", "features", "text", "speech", "words")
            ),
            ModelSource.of_step(s),
            Path(s.output.responses),
            **{name: s.params[name] for name in ("shards", "settings", "seed")},
        ),
    )
