"""Models of an entry or a folder, and states of a text and a clip, are those of the workflow."""

import numpy as np
import pytest
import soundfile

from tests.tiny_study import CHECKPOINT, write_tiny_study
from workflow_scripts import api
from workflow_scripts.speech.audio import BadAudioError, read_flac, write_flac
from workflow_scripts.speech_lm.protocol import Speech


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def lm(study):
    """A trained checkpoint from its folder."""
    return api.open_folder(study.model.parent / CHECKPOINT, "checkpoints", backbone=study.backbone.parent)


def test_states_of_a_text_are_the_models_without_its_template(lm):
    found = api.states(lm, text="Who wrote Hamlet?")
    query = lm.encode_text("Who wrote Hamlet?")
    np.testing.assert_array_equal(found.values, lm.states([query])[0].float().numpy())
    assert found.values.dtype == np.float32
    assert found.values.shape == (lm.n_layers + 1, len(found.tokens), lm.hidden_size)
    assert found.tokens == query.tokens


class Hearing:
    """Stands for a model that takes audio; keeps what it was given."""

    def encode_speech(self, speech: Speech):
        self.heard = speech
        raise StopIteration


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_a_clip_is_heard_alike_as_a_file_and_as_samples(tmp_path, rate):
    samples = 0.3 * np.sin(np.arange(rate) / 40).astype(np.float32)
    soundfile.write(tmp_path / "clip.wav", samples, rate, subtype="FLOAT")
    heard = []
    for clip in (tmp_path / "clip.wav", str(tmp_path / "clip.wav"), samples, np.stack([samples, samples], axis=1)):
        lm = Hearing()
        with pytest.raises(StopIteration):
            api.states(lm, speech=clip, rate=rate)
        heard.append(lm.heard)
    assert all(one.rate == 16_000 and one.seconds == pytest.approx(1) for one in heard)
    for one in heard[1:]:
        np.testing.assert_allclose(one.waveform, heard[0].waveform, atol=1e-6)


def test_a_clip_of_the_workflow_is_read_as_its_steps_read_it(tmp_path):
    write_flac(tmp_path / "a.flac", 0.2 * np.random.default_rng(0).standard_normal(8000).astype(np.float32))
    np.testing.assert_array_equal(api.read_audio(tmp_path / "a.flac").waveform, read_flac(tmp_path / "a.flac"))


def test_what_cannot_be_used_is_refused(lm, tmp_path):
    with pytest.raises(ValueError, match="give either text or speech"):
        api.states(lm)
    (tmp_path / "a.wav").write_bytes(b"no audio")
    with pytest.raises(BadAudioError, match=r"a\.wav cannot be read"):
        api.states(lm, speech=tmp_path / "a.wav")
    with pytest.raises(BadAudioError, match="silent"):
        api.states(lm, speech=np.zeros(16_000))
    with pytest.raises(ValueError, match="no family 'nothing'; there are composite, checkpoints, hf"):
        api.open_folder(tmp_path, "nothing")
