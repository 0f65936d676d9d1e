"""Spans off by one are found by what differs between clips, and confounds by what the model really gets."""

from dataclasses import replace

import pytest
import torch

from tests.speech_lm.tiny_models import build, speech_lm
from workflow_scripts.speech_lm.families.hf import HfSpeechLM
from workflow_scripts.speech_lm.opening.model_checks import CHECKS, CheckFailed, confounds

torch.set_num_threads(1)


@pytest.fixture(scope="module", params=["composite", "units", "glmasr"])
def lm(request):
    return speech_lm(request.param)


@pytest.mark.parametrize(("first", "last"), [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, -1)])
def test_a_span_that_is_off_by_one_at_either_end_is_found(lm, first, last, monkeypatch):
    check = CHECKS["speech span is what differs between clips"]
    check(lm)
    honest = lm.encode_speech

    def shifted(speech):
        query = honest(speech)
        start, end = query.span[0] + first, query.span[1] + last
        return replace(query, span=(start, end), tokens=("",) * (end - start), starts=None)

    monkeypatch.setattr(lm, "encode_speech", shifted)
    with pytest.raises(CheckFailed, match="the span is not where the audio is"):
        check(lm)


def test_tokens_that_a_processor_adds_are_confounds():
    tiny = build("glmasr")

    class Adding(type(tiny.processor)):
        def __call__(self, text, audio=None, **options):
            text = [one.replace(self.audio_token, f"<|pad|>{self.audio_token}") for one in text]
            return super().__call__(text, audio, **options)

    tiny.processor.__class__ = Adding
    found = confounds(HfSpeechLM(tiny.model, tiny.processor, name="adding"))
    assert found == ["only before speech: '<|audio_bos|><|pad|>'", "only after speech: '<|audio_eos|>'"]


def test_confounds_of_units_are_the_tokens_around_them():
    assert confounds(speech_lm("units")) == ["only before speech: '<|begin|>'", "only after speech: '<|end|>'"]


def test_positions_without_ids_are_compared_by_their_embeddings(monkeypatch):
    lm = speech_lm("composite")
    assert confounds(lm) == []
    honest = lm.encode_speech

    def longer(speech):
        query = honest(speech)
        embeds = query.inputs["inputs_embeds"]
        embeds = torch.cat([embeds, torch.ones_like(embeds[:, :2])], dim=1)
        return replace(query, inputs={"inputs_embeds": embeds}, length=query.length + 2)

    monkeypatch.setattr(lm, "encode_speech", longer)
    (only_speech, only_text) = confounds(lm)
    n_after = len(lm.template.ids[1])
    assert only_speech == f"only after speech: {n_after + 2} position(s)"
    assert only_text == f"only after text: {n_after} position(s)"
