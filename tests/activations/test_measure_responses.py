"""Divergence between forms: 0 for equal queries, by hand, the model's own loss, null, undefined cases."""

import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.tiny_study import write_tiny_study
from workflow_scripts.activations.measure_responses import measure_responses, respond, token_cosines
from workflow_scripts.activations.read_lens import content_ids
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.responses import read_responses
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.artifacts.word_times import WORD_TIMES, TimedWord, WordTimes
from workflow_scripts.correlation.build_response_table import build_response_table, lens_rows
from workflow_scripts.measures.divergence import kl_divergence, log_softmax
from workflow_scripts.speech_lm.probing.forced_responses import forced_responses
from workflow_scripts.speech_lm.probing.logit_lens import LOWEST_RANK, lens_ranks
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def loaded(study):
    return study.load(), read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)


class SameTwice:
    """A shard whose spoken queries are its written ones."""

    def __init__(self, asked):
        self.asked = asked
        self.ids, self.questions = asked.ids, asked.questions
        self.written = self.spoken = asked.written


def write_answers(folder, ids, form, token_ids):
    rows = [
        AnswerRecord(
            id=name, form=form, prompt_hash="0" * 16, answer="x", token_ids=token_ids, finish_reason="stop", seconds=0.0
        )
        for name in ids
    ]
    path = folder / f"{form}.answers.jsonl"
    ANSWERS.write(path, rows, {})
    return path


def write_times(study, folder):
    """The words of every question, one behind the other with equal lengths."""
    path = folder / "word_times.jsonl"
    lengths = {row.id: row.seconds for row in UTTERANCES.read(study.manifest)}
    rows = []
    for question in QUESTIONS.read(study.questions):
        spans = [match.span() for match in re.finditer(r"\w+", question.prompt)]
        step = lengths[question.id] / len(spans)
        words = [
            TimedWord(text=question.prompt[slice(*span)], span=span, seconds=(k * step, (k + 1) * step))
            for k, span in enumerate(spans)
        ]
        rows.append(WordTimes(id=question.id, words=words))
    WORD_TIMES.write(path, rows, {})
    return path


def run(study, folder, text=(40, 41, 42), speech=(50,), ids=("q0", "q2", "q3", "q4"), lens=False, **settings):
    files = [write_answers(folder, ids, form, list(tokens)) for form, tokens in (("text", text), ("speech", speech))]
    measure_responses(
        *([path] for path in (study.questions, study.manifest, study.features, *files)),
        [write_times(study, folder)] if lens else [],
        *(study.source, folder / "responses.h5"),
        shards=["00-of-01"],
        settings={"questions": 8, "positions": 5, **settings},
        seed=7,
    )
    return read_responses(folder / "responses.h5")


def test_two_symbols_by_hand():
    log_p, log_q = np.log([[0.5, 0.5], [1 - 1e-12, 1e-12]]), np.log([[0.9, 0.1], [0.5, 0.5]])
    expected = [0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1), math.log(2)]
    np.testing.assert_allclose(kl_divergence(log_p, log_q), expected, rtol=1e-9)
    np.testing.assert_array_equal(kl_divergence(log_p, log_p), 0)


def test_divergence_is_never_negative_and_ignores_a_shift_of_the_logits():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 50, 300)) * 5
    found = kl_divergence(log_softmax(a), log_softmax(b))
    assert (found > 0).all()
    np.testing.assert_allclose(kl_divergence(log_softmax(a + 100), log_softmax(b - 7)), found)
    with pytest.raises(ValueError, match="position 1 are not finite"):
        log_softmax(np.array([[0.0, 1.0], [np.nan, 0.0]]))
    with pytest.raises(ValueError, match="vocabularies differ"):
        kl_divergence(log_softmax(a), log_softmax(b[:, :9]))


def test_forced_responses_hold_the_models_own_loss_whatever_stands_in_the_same_row_and_batch(loaded):
    lm, asked = loaded
    queries, answers = [asked.written(lm, k) for k in range(3)], [["ab", "wxyz"], ["q"], ["wxyz", "b", "ab"]]
    ids = [[lm.tokenizer(text, add_special_tokens=False)["input_ids"] for text in own] for own in answers]
    for query, texts, own, together in zip(queries, answers, ids, forced_responses(lm, queries, ids)):
        for text, tokens, found in zip(texts, own, together):
            log_p = log_softmax(found.logits)
            (loss,) = lm.answer_loss([query], [text])
            assert -log_p[np.arange(len(tokens)), tokens].sum() == pytest.approx(loss.nll, rel=1e-4)
            ((alone,),) = forced_responses(lm, [query], [[tokens]])
            np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)
            np.testing.assert_allclose(found.states, alone.states, atol=1e-4)
            assert found.states.shape == (lm.n_layers + 1, len(tokens), lm.hidden_size)
    with pytest.raises(ValueError, match="at least one token"):
        forced_responses(lm, queries, [[[1]], [[]], [[2]]])


def test_the_lens_finds_planted_rows_of_the_output_head_and_not_others(loaded):
    lm, _ = loaded
    head = lm.lm_head.weight.detach().float()
    states = torch.zeros(2, 3, lm.hidden_size)
    states[0, 1], states[1, 2] = 50 * head[7] / head[7].norm(), 50 * head[9] / head[9].norm()
    ranks = lens_ranks(lm, states, [7, 9])
    assert ranks[0, 1, 0] == ranks[1, 2, 1] == 1 and (ranks[0, 1, 1], ranks[1, 2, 0]) > (1, 1)
    assert (ranks[0, 0] == len(head)).all(), "of a zero state nothing is recalled"


def test_ranks_are_those_of_a_sorted_vocabulary_up_to_the_lowest(loaded, monkeypatch):
    lm, _ = loaded
    states = torch.randn(2, 70, lm.hidden_size, generator=torch.Generator().manual_seed(0))
    tokens = [3, 90, 200]
    with torch.no_grad():
        logits = lm.model.lm_head(lm.final_norm(states))
    expected = 1 + (logits[..., None, :] > logits[..., tokens, None]).sum(dim=-1)
    np.testing.assert_array_equal(lens_ranks(lm, states, tokens), expected.numpy())
    monkeypatch.setattr("workflow_scripts.speech_lm.probing.logit_lens.LOWEST_RANK", 11)
    np.testing.assert_array_equal(lens_ranks(lm, states, tokens), np.minimum(expected.numpy(), 11))
    assert LOWEST_RANK > 100


def test_content_words_are_long_and_distinct(loaded):
    lm, _ = loaded
    found = content_ids("Water, water in the RIVER 12345 of_Paris", lm.tokenizer)
    expected = {lm.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Water", "water", "RIVER")}
    assert set(found) == expected | {lm.tokenizer("Paris", add_special_tokens=False)["input_ids"][0]}
    assert content_ids("to be or not", lm.tokenizer) == []


def test_the_lens_is_tabulated_with_its_control(study, tmp_path):
    found = run(study, tmp_path, lens=True, lens_questions=9, lens_layers=3)
    assert found.lens["layers"].tolist() == [0, 2, 3]
    assert found.lens["recall"].shape == (4, 3)
    # All questions have the same long words, so there is nothing left for a control.
    assert np.isfinite(found.lens["recall"]).all() and np.isnan(found.lens["control"]).all()
    lens = {"layers": np.array([0, 5]), "recall": np.array([[0.5, 1.0], [0.5, 0.6]])}
    rows = lens_rows(replace(found, lens=lens | {"control": np.array([[0.5, 0.2], [np.nan, 0.2]])}))
    assert [row["n"] for row in rows] == [1, 2] and np.isnan(rows[0]["difference_low"])
    assert rows[1]["difference"] == pytest.approx(0.6)
    assert -1 <= rows[1]["difference_low"] < 0.6 < rows[1]["difference_high"] <= 1, "a difference of shares"


def test_the_same_query_twice_diverges_nowhere_and_its_states_are_equal(loaded):
    lm, asked = loaded
    same = SameTwice(asked)
    items = [(same, k, {"text": [40 + k, 41], "reference": [60, 61, 62]}) for k in range(4)]
    found = respond(lm, lm, items, positions=4)
    for name, values in found.divergence.items():
        assert np.nanmax(values, initial=0) < 1e-9, name
    assert np.isnan(found.divergence["forward", "speech"]).all()  # no such prefix
    assert np.isnan(found.divergence["forward", "text"][:, 2:]).all() and np.isnan(found.similarity).sum() == 0
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)
    assert (found.similarity_null[:, 1:] < 0.999).all()


def test_a_study_is_measured_and_tabulated(study, tmp_path):
    found = run(study, tmp_path)
    assert found.ids == ["q0", "q2", "q3", "q4"]
    assert (found.divergence["forward", "text"][:, :3] > 0).all()
    assert np.isnan(found.divergence["forward", "text"][:, 3:]).all()
    # q3 has no reference answer; the untuned model differs from the checkpoint in its adapter only.
    assert np.isnan(found.divergence["reverse", "reference"][2]).all()
    assert np.nanmax(found.divergence["forgetting", "text"]) < 1e-6
    tables = [tmp_path / f"{name}.csv" for name in "tplw"]
    build_response_table([tmp_path / "responses.h5"], *tables, draws=9, seed=0)
    (row,) = read_table(tmp_path / "t.csv", "responses").to_dict("records")
    assert row["kl_forward_text"] == pytest.approx(np.nanmean(found.divergence["forward", "text"]), rel=1e-4)
    assert row["response_cosine"] == pytest.approx(found.similarity[:, 1:].mean(), rel=1e-4)
    assert (row["model"], row["step"], row["n"]) == ("tiny-lora", 3, 4)
    table = read_table(tmp_path / "p.csv", "response_positions")
    positions = select(table, measure="forward", prefix="text").to_dict("records")
    assert [r["position"] for r in positions] == [0, 1, 2] and all(r["n"] == 4 for r in positions)


def test_prefixes_are_cut_and_questions_limited(study, tmp_path):
    found = run(study, tmp_path, text=range(40, 60), questions=2, positions=3)
    assert found.ids == ["q0", "q2"]
    assert found.divergence["forward", "text"].shape == (2, 3)


def test_an_empty_answer_has_no_prefix_and_a_missing_one_is_named(study, tmp_path):
    found = run(study, tmp_path, speech=())
    assert np.isnan(found.divergence["forward", "speech"]).all()
    with pytest.raises(ArtifactError, match="no answer to question 'q4'"):
        run(study, tmp_path, ids=("q0", "q2", "q3"))


def test_cosines_of_tokens_by_hand_and_of_zero_vectors():
    a = np.array([[[3.0, 4.0], [0.0, 0.0]]])
    assert token_cosines(a, np.array([[[4.0, 3.0]]])).tolist() == [pytest.approx(24 / 25)]
    assert token_cosines(a, a).tolist() == [pytest.approx(0.5)]
