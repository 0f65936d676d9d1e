"""Readings that need other positions or states: each against what the model's own forward pass gives."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.planted_states import rounded
from tests.tiny_study import D_ENCODER, write_tiny_study
from workflow_scripts.activations.dump_states import dump_states, write_shard_states
from workflow_scripts.activations.readings import SCORES, VARIANTS, measure_readings
from workflow_scripts.alignment.align_tokens import measure_alignment
from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.artifacts.measurements import READINGS, read_measurements
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.settings.analysis import ActivationSettings
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard

PADDING = 400
"""Frames behind the audio of every question but q4."""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Tiny study whose features hold padding; q1 has whole groups of five frames (35 of audio)."""
    made = write_tiny_study(tmp_path_factory.mktemp("study"), dropped=(2,))
    plain = FeatureReader(made.features)
    rng = np.random.default_rng(3)
    behind = [(k, rng.standard_normal((PADDING, D_ENCODER), dtype=np.float32)) for k in range(4)]
    write_features(
        made.features,
        plain.ids,
        [plain.seconds[name] for name in plain.ids],
        [plain.frames(name) for name in plain.ids],
        D_ENCODER,
        ((k, plain[name]) for k, name in enumerate(plain.ids)),
        {},
        behind,
    )
    return made


@pytest.fixture(scope="module")
def measured(study):
    """The model, its questions q0, q1, q3, q4 and their readings by id."""
    lm, asked = study.load(), read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)
    lm.final_norm.weight.data = torch.linspace(0.2, 3, lm.hidden_size)  # one that does more than scale
    content = measure_readings(lm, asked, range(len(asked.ids)), {"model": "tiny"})
    return lm, asked, content


def value(content, name, question):
    return content.measures[name].raw[content.ids.index(question)]


def hidden(lm, query):
    """All positions of a query as transformers gives them: (L+1, T, d), the last after the final norm."""
    with torch.no_grad():
        found = lm.decoder(inputs_embeds=lm.embed(query)[None], output_hidden_states=True).hidden_states
    return rounded(torch.cat(found).float().numpy())


def by_hand(speech, text):
    """Path score by cosine and Sim by cosine of (T_s, d), (T_t, d), in float64."""
    s, t = (one.astype(np.float64) / np.linalg.norm(one, axis=1, keepdims=True) for one in (speech, text))
    means = speech.mean(axis=0, dtype=np.float64), text.mean(axis=0, dtype=np.float64)
    pooled = means[0] @ means[1] / np.linalg.norm(means[0]) / np.linalg.norm(means[1])
    return (s @ t.T).max(axis=0).mean(), pooled


def test_the_default_reading_is_that_of_the_alignment_stage(measured, tmp_path):
    lm, asked, content = measured
    write_shard_states(tmp_path / "states.h5", lm, asked, ActivationSettings(compression="none"), {})
    with StateReader(tmp_path / "states.h5") as reader:
        aligned = measure_alignment(reader, draws=2, seed=0, examples=0)
    assert content.ids == aligned.ids == ["q0", "q1", "q3", "q4"]
    assert content.T_s.tolist() == aligned.T_s.tolist() and content.T_t.tolist() == aligned.T_t.tolist()
    for name in ("path_score_cosine", "path_score_euclidean"):
        np.testing.assert_allclose(content.measures[name].raw, aligned.measures[name].raw, rtol=2e-2, atol=2e-3)


@pytest.mark.parametrize("suffix", ["_text_template", "_speech_template", "_both_template"])
def test_template_readings_take_every_position_of_the_prompt(measured, suffix):
    lm, asked, content = measured
    spoken, written = asked.spoken(lm, 1), asked.written(lm, 1)
    speech, text = hidden(lm, spoken), hidden(lm, written)
    if suffix == "_text_template":
        speech = speech[:, slice(*spoken.span)]
    if suffix == "_speech_template":
        text = text[:, slice(*written.span)]
    for layer in range(lm.n_layers):
        expected = by_hand(speech[layer], text[layer])
        found = [value(content, name + suffix, "q1")[layer] for name in ("path_score_cosine", "cosine")]
        np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-3)


def test_a_template_shared_by_both_forms_matches_itself(measured):
    """Positions before the query are the same states in both forms: that alone lifts the path score."""
    _, _, content = measured
    for question in content.ids:
        both, speech = (value(content, f"path_score_cosine_{one}_template", question) for one in ("both", "speech"))
        assert (both > speech).all()


def test_the_state_after_the_final_norm_changes_the_last_layer_only(measured):
    lm, asked, content = measured
    spoken, written = asked.spoken(lm, 1), asked.written(lm, 1)
    speech, text = hidden(lm, spoken)[-1, slice(*spoken.span)], hidden(lm, written)[-1, slice(*written.span)]
    for name, expected in zip(("path_score_cosine", "cosine"), by_hand(speech, text)):
        normed, plain = value(content, f"{name}_normed", "q1"), value(content, name, "q1")
        np.testing.assert_array_equal(normed[:-1], plain[:-1])
        np.testing.assert_allclose(normed[-1], expected, rtol=5e-3, atol=1e-3)
        assert abs(normed[-1] - plain[-1]) > 1e-3


def test_padding_adds_speech_positions_and_never_takes_one_away(measured):
    """q1 has 35 frames, 7 whole positions: causal attention leaves them as they are, padding only adds choices."""
    lm, asked, content = measured
    padded = asked.padded(lm, 1)
    assert len(padded.tokens) == (35 + PADDING) // 5 and padded.span[0] == asked.spoken(lm, 1).span[0]
    np.testing.assert_allclose(lm.states([padded])[0][:, :7], lm.states([asked.spoken(lm, 1)])[0], rtol=1e-4, atol=1e-4)
    assert (value(content, "path_score_cosine_padded", "q1") >= value(content, "path_score_cosine", "q1") - 1e-3).all()
    near, plain = (value(content, f"path_score_euclidean{suffix}", "q1") for suffix in ("_padded", ""))
    assert (near <= plain * (1 + 1e-3)).all() and (near < plain * 0.999).any()
    written = asked.written(lm, 1)
    expected = by_hand(hidden(lm, padded)[1, slice(*padded.span)], hidden(lm, written)[1, slice(*written.span)])
    assert value(content, "path_score_cosine_padded", "q1")[1] == pytest.approx(expected[0], rel=5e-3)


def test_a_question_without_padding_is_undefined_and_counted(measured):
    _, _, content = measured
    assert np.isnan(value(content, "path_score_cosine_padded", "q4")).all()
    undefined = content.attributes["undefined"]
    assert {name for name, n in undefined.items() if n} == {f"{score}_padded" for score in SCORES}
    assert set(undefined.values()) == {0, 1}
    assert len(undefined) == len(SCORES) * (1 + len(VARIANTS))


def test_padding_beyond_the_models_reach_is_undefined_not_fatal(study, caplog):
    lm, asked = study.load(), read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)
    lm.model.config.max_position_embeddings = asked.padded(lm, 1).length - 1
    content = measure_readings(lm, asked, [1], {})
    assert np.isnan(value(content, "cosine_padded", "q1")).all()
    assert np.isfinite(value(content, "cosine", "q1")).all()
    assert "no padded speech span" in caplog.text


def test_frames_behind_the_audio_do_not_reach_the_plain_query(measured):
    lm, asked, _ = measured
    speech = asked.spoken(lm, 1)
    assert lm.encode_padded(replace(asked.source.speech("q1"), padding=None)) is None
    torch.testing.assert_close(
        lm.embed(speech),
        lm.embed(lm.encode_speech(replace(asked.source.speech("q1"), padding=None))),
        rtol=0,
        atol=0,
    )


@pytest.mark.parametrize(("wanted", "expected"), [(0, []), (1, ["q0"]), (4, ["q0", "q1", "q3"])])
def test_the_first_questions_of_the_subset_are_measured_as_far_as_they_were_kept(study, tmp_path, wanted, expected):
    ids, shards = [], ("00-of-02", "01-of-02")
    for shard in shards:
        dump_states(
            **study.inputs(),
            states=tmp_path / f"{shard}.h5",
            shard=shard,
            activations={"batch_size": 2, "compression": "none", "reading_questions": wanted},
            seed=7,
            readings=tmp_path / f"{shard}.readings.h5",
        )
        content = read_measurements(tmp_path / f"{shard}.readings.h5", READINGS)
        ids += content.ids
        assert content.attributes["model"] == "tiny-lora" and content.attributes["subset"] == "tiny"
        assert sum(json.loads(content.attributes["undefined"]).values()) == 0
    assert sorted(ids) == expected
