"""Conditions of speech: planted tones and levels come out as they must, and an altered voice repeats itself."""

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.settings.speech import Voice
from workflow_scripts.speech import engines
from workflow_scripts.speech.conditions import add_noise, babble, change_speed, telephone_band, white_noise

RATE = 16_000


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)


def power(samples, hertz):
    spectrum = np.abs(np.fft.rfft(samples)) ** 2
    return spectrum[round(hertz * len(samples) / RATE)]


def test_speed_shortens_and_raises_the_pitch_by_the_same_factor():
    fast = change_speed(tone(400), 1.25)
    assert len(fast) == RATE * 4 // 5
    assert np.argmax(np.abs(np.fft.rfft(fast))) * RATE / len(fast) == pytest.approx(500, abs=2)


def test_a_telephone_line_keeps_the_middle_and_drops_both_ends():
    line = telephone_band(tone(100) + tone(1000) + tone(6000), RATE)
    assert power(line, 1000) > 0.9 * power(tone(1000), 1000)
    assert max(power(line, 100), power(line, 6000)) < 1e-3 * power(tone(1000), 1000)
    with pytest.raises(ValueError, match="cannot hold a telephone band"):
        telephone_band(tone(100), 6000)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_level_that_is_asked_for(snr):
    speech, rng = tone(300), np.random.default_rng(1)
    noise = add_noise(speech, white_noise(len(speech), rng), snr) - speech
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(snr)


def test_babble_holds_every_talker_at_equal_power_and_any_length():
    found = babble(3 * RATE, [tone(300), 5 * tone(700, 0.5)], np.random.default_rng(0))
    assert len(found) == 3 * RATE
    assert power(found, 300) == pytest.approx(power(found, 700), rel=1e-6)


def test_silence_has_no_level():
    with pytest.raises(ValueError, match="no SNR"):
        add_noise(np.zeros(9), np.ones(9), 0)
    with pytest.raises(ValueError, match="talker"):
        babble(9, [], np.random.default_rng(0))


class Tone:
    """A voice that hums: 300 Hz for a question, 700 Hz for what it says in a babble."""

    def __init__(self, *_):
        self.said = []

    def say(self, question):
        self.said.append(question.spoken)
        return tone(700 if question.subset == "babble" else 300), RATE


def altered(monkeypatch, **condition):
    monkeypatch.setitem(engines.ENGINES, "hibari", Tone)
    voice = TypeAdapter(Voice).validate_python({"engine": "altered", "base": {"engine": "hibari"}} | condition)
    return engines.make_engine(voice, "s")


def question(name):
    fields = {"id": name, "subset": "s", "prompt": "x", "spoken": "x", "reference": [], "scorer": "refusal"}
    return Question(**fields, source={})


def test_noise_is_the_same_for_a_question_whenever_it_is_spoken_and_differs_between_questions(monkeypatch):
    engine = altered(monkeypatch, noise="white", snr_db=10)
    first, other, again = (engine.say(question(name))[0] for name in ("a", "b", "a"))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_babble_is_spoken_once_by_the_voice_itself(monkeypatch):
    engine = altered(monkeypatch, noise="babble", snr_db=0)
    samples, _ = engine.say(question("a"))
    engine.say(question("b"))
    assert power(samples, 700) > 0.1 * power(samples, 300)
    assert len(engine._base.said) == 2 + len(engines.BABBLE)


@pytest.mark.parametrize(
    "condition, message",
    [
        ({}, "nothing is altered"),
        ({"noise": "white"}, "go together"),
        ({"snr_db": 3}, "go together"),
        ({"noise": "babble", "snr_db": 3, "base": {"engine": "recorded", "asset": "x"}}, "cannot speak"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused_when_the_config_is_read(condition, message):
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(Voice).validate_python({"engine": "altered", "base": {"engine": "hibari"}} | condition)
