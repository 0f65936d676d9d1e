"""Turns a Whisper model of CTranslate2 into a transformers folder, number types and values unchanged."""

from pathlib import Path
from typing import Any

from workflow_scripts.assets.ctranslate2 import read_ctranslate2, whisper_shape, whisper_tensors
from workflow_scripts.assets.errors import AssetError
from workflow_scripts.assets.model_folder import read_json

END, START = "<|endoftext|>", "<|startoftranscript|>"
SAMPLING_RATE = 16_000
"""Audio samples per second that Whisper expects."""


def convert_whisper(original: Path, target: Path) -> dict[str, str]:
    """Write WhisperForConditionalGeneration, its feature extractor and its tokenizer.

    The file gives sizes and weights; token ids come from the tokenizer, since the defaults of WhisperConfig
    are those of the English-only models; suppressed tokens and alignment heads come from CTranslate2's config.json.

    Args:
        original: folder with model.bin, config.json and tokenizer.json.
        target: folder to write to; exists.

    Returns:
        Versions of the libraries used, by name.

    Raises:
        AssetError: a file is missing or is no Whisper model, or the weights do not fill the model exactly.
    """
    import torch
    import transformers
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    for name in ("model.bin", "config.json", "tokenizer.json"):
        if not (original / name).is_file():
            raise AssetError(f"{original} has no {name}; a ctranslate2_whisper source needs it among its `files`")
    weights = original / "model.bin"
    model = read_ctranslate2(weights)
    shape, arrays = whisper_shape(model, weights), whisper_tensors(model, weights)
    hints = read_json(original / "config.json")
    ids = _special_ids(original / "tokenizer.json", shape["vocab_size"])

    dtype = {2: torch.float16, 4: torch.float32}[arrays["model.decoder.embed_tokens.weight"].dtype.itemsize]
    tokens = dict(
        pad_token_id=ids[END], bos_token_id=ids[END], eos_token_id=ids[END], decoder_start_token_id=ids[START]
    )
    with torch.device("meta"):
        whisper = WhisperForConditionalGeneration(WhisperConfig(**shape, **tokens))
    # Copied, because the arrays are read-only views of the file.
    state = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    _check_state(whisper, state, weights)
    whisper.load_state_dict(state, strict=False, assign=True)
    whisper.tie_weights()
    whisper = whisper.to(dtype)
    whisper.config.dtype = dtype
    whisper.generation_config = _generation_config(hints, ids, tokens, shape["max_target_positions"])
    whisper.save_pretrained(target)
    WhisperFeatureExtractor(feature_size=shape["num_mel_bins"], sampling_rate=SAMPLING_RATE).save_pretrained(target)
    _save_tokenizer(original / "tokenizer.json", target)
    return {"torch": torch.__version__, "transformers": transformers.__version__}


def _special_ids(tokenizer: Path, vocab_size: int) -> dict[str, int]:
    added = read_json(tokenizer).get("added_tokens", [])
    ids = {token["content"]: token["id"] for token in added}
    for token in (END, START, "<|transcribe|>", "<|translate|>", "<|startofprev|>", "<|notimestamps|>"):
        if token not in ids:
            raise AssetError(f"{tokenizer} has no token {token}; it is not the tokenizer of a Whisper model")
    if max(ids.values()) >= vocab_size:
        raise AssetError(
            f"{tokenizer} has id {max(ids.values())}, but the model has {vocab_size} embeddings; they do not match"
        )
    return ids


def _check_state(whisper: Any, state: dict[str, Any], path: Path) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in whisper.state_dict().items()}
    expected.pop("proj_out.weight")
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
        raise AssetError(
            f"{path} does not fill WhisperForConditionalGeneration: missing "
            f"{sorted(expected.keys() - found.keys())}, "
            f"unexpected {sorted(found.keys() - expected.keys())}, of another shape "
            f"{[(name, found[name], expected[name]) for name in wrong]}"
        )


def _generation_config(hints: dict, ids: dict[str, int], tokens: dict[str, int], max_length: int) -> Any:
    from transformers import GenerationConfig

    # English-only models have one vocabulary entry less and end with id 50256; they are given no language or task.
    languages = {token: ids[token] for token in ids if ids[token] in set(hints.get("lang_ids", ()))}
    multilingual = ids[END] != 50256
    extra = {"is_multilingual": multilingual}
    if multilingual:
        extra["lang_to_id"] = languages
        extra["task_to_id"] = {"transcribe": ids["<|transcribe|>"], "translate": ids["<|translate|>"]}
    if "alignment_heads" in hints:
        extra["alignment_heads"] = hints["alignment_heads"]
    return GenerationConfig(
        **tokens,
        **extra,
        max_length=max_length,
        max_initial_timestamp_index=50,
        prev_sot_token_id=ids["<|startofprev|>"],
        no_timestamps_token_id=ids["<|notimestamps|>"],
        return_timestamps=False,
        suppress_tokens=hints.get("suppress_ids", []),
        begin_suppress_tokens=hints.get("suppress_ids_begin", []),
    )


def _save_tokenizer(source: Path, target: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(source), bos_token=END, eos_token=END, unk_token=END, pad_token=END
    )
    tokenizer.save_pretrained(target)
