"""The decoding loop against transformers' own decoder, step by step, and the rules about tokens."""

import pytest
import torch
from transformers import WhisperForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutput

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.speech.whisper_decoder import WhisperDecoder

END, PROMPT = 256, [257, 258, 259, 260]
SUPPRESSED, SUPPRESSED_FIRST = [0, 5, 9], [1, 256]


@torch.no_grad()
def reference_tokens(model, frames: torch.Tensor, limit: int) -> list[int]:
    """Greedy tokens without any cache: the whole decoder is run again for every token."""
    tokens: list[int] = []
    encoded = BaseModelOutput(last_hidden_state=frames[None])
    for step in range(limit):
        logits = model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([PROMPT + tokens])).logits[0, -1]
        logits[SUPPRESSED] = -torch.inf
        logits[END + 1 :] = -torch.inf
        if step == 0:
            logits[SUPPRESSED_FIRST] = -torch.inf
        token = int(logits.argmax())
        if token == END:
            return tokens
        tokens.append(token)
    return tokens


def heard(decoder: WhisperDecoder, features: list[torch.Tensor]) -> list[list[int]]:
    """Tokens instead of texts."""
    found: list[list[int]] = []
    real = decoder._tokenizer.batch_decode
    try:
        decoder._tokenizer.batch_decode = lambda rows, **_: found.extend(rows) or [str(row) for row in rows]
        decoder.transcribe(features)
    finally:
        decoder._tokenizer.batch_decode = real
    return found


def test_tokens_equal_the_uncached_decoder(tiny_whisper) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(tiny_whisper, dtype=torch.float32).eval()
    decoder = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32", batch_size=4, max_tokens=45)
    torch.manual_seed(1)
    features = [torch.randn(150, 32) for _ in range(6)]
    expected = [reference_tokens(model, frames, 45) for frames in features]
    assert heard(decoder, features) == expected
    assert len({tuple(tokens) for tokens in expected}) > 1
    assert max(len(tokens) for tokens in expected) > 40  # crosses a block of the cache


def test_rows_end_independently_and_the_shrunken_batch_stays_right(tiny_whisper, monkeypatch) -> None:
    model = WhisperForConditionalGeneration.from_pretrained(tiny_whisper, dtype=torch.float32).eval()
    decoder = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32", batch_size=8, max_tokens=30)
    torch.manual_seed(2)
    features = [torch.randn(120, 32) for _ in range(8)]
    free = [reference_tokens(model, frames, 30) for frames in features]
    # A token that some rows say early becomes the end of text: rows then end at different steps.
    end = free[0][3]
    monkeypatch.setattr(decoder, "_end", end)
    cut = [tokens[: tokens.index(end)] if end in tokens else tokens for tokens in free]
    found = heard(decoder, features)
    assert found == cut
    assert len({len(tokens) for tokens in cut}) > 1
    reasons = [transcript.finish_reason for transcript in decoder.transcribe(features)]
    assert reasons == ["stop" if end in tokens else "length" for tokens in free]


def test_order_and_batches_do_not_matter(tiny_whisper) -> None:
    torch.manual_seed(3)
    features = [torch.randn(length, 32) for length in (100, 50, 100, 150, 50)]
    one = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32", batch_size=1, max_tokens=10)
    many = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32", batch_size=16, max_tokens=10)
    assert many.transcribe(features) == one.transcribe(features)
    assert many.transcribe(features[::-1]) == one.transcribe(features)[::-1]


def test_length_is_bounded_by_the_audio(tiny_whisper, monkeypatch) -> None:
    decoder = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32")
    monkeypatch.setattr(decoder, "_end", -1)  # never ends
    lengths = [len(tokens) for tokens in heard(decoder, [torch.ones(50, 32), torch.ones(250, 32)])]
    assert lengths == [8 + 24, 5 * 8 + 24]


def test_features_of_another_model_are_refused(tiny_whisper) -> None:
    decoder = WhisperDecoder(tiny_whisper, device="cpu", dtype="float32")
    with pytest.raises(ValueError, match=r"features 1 have shape \(50, 16\).*32"):
        decoder.transcribe([torch.ones(50, 32), torch.ones(50, 16)])


def test_folder_without_generation_config_is_named(tmp_path) -> None:
    with pytest.raises(ArtifactError, match="generation_config"):
        WhisperDecoder(tmp_path)
