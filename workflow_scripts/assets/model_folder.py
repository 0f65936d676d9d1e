"""Checks a transformers folder and reads its facts from its files, without loading the model."""

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.assets.errors import AssetError

logger = logging.getLogger(__name__)

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
    "spiece.model",
)


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a transformers folder.

    Attributes:
        model_type: `model_type` of config.json.
        vocab_size: rows of the token embeddings by config.json (its text part, for multimodal models); None
            if unstated.
        tokenizer_size: ids of tokenizer.json, added ones included; None where there is no such file.
        n_parameters: numbers in all safetensors files.
        dtypes: number types in them, sorted.
        has_chat_template: whether a chat template is in the folder.
        pad_token: padding token by tokenizer_config.json, or None.
    """

    model_type: str
    vocab_size: int | None
    tokenizer_size: int | None
    n_parameters: int
    dtypes: list[str]
    has_chat_template: bool
    pad_token: str | None


def read_model_folder(folder: Path) -> ModelFacts:
    """Check that a folder holds a model that can be loaded without pickles, and read its facts.

    Raises:
        AssetError: config.json, safetensors or tokenizer are missing or damaged, or a shard named in the index is
            missing.
    """
    config = read_json(folder / "config.json")
    if "model_type" not in config:
        raise AssetError(f"{folder / 'config.json'} has no model_type; it is no transformers model folder")
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise AssetError(f"{folder} has no tokenizer (one of {', '.join(TOKENIZER_FILES)}); add it to the source")
    n_parameters, dtypes = _count_parameters(folder)
    vocab_size = config.get("vocab_size") or (config.get("text_config") or {}).get("vocab_size")
    tokenizer_size = _tokenizer_size(folder / "tokenizer.json")
    if vocab_size is not None and tokenizer_size is not None and tokenizer_size > vocab_size:
        # No error: some published models have a few placeholder ids without an embedding.
        logger.warning(
            "%s: the tokenizer has %d ids but the model %d embeddings; unless the highest ids are placeholders, "
            "tokenizer and weights are not of the same model",
            folder,
            tokenizer_size,
            vocab_size,
        )
    path = folder / "tokenizer_config.json"
    tokenizer_config = read_json(path) if path.is_file() else {}
    templates = any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))
    pad = tokenizer_config.get("pad_token")
    return ModelFacts(
        model_type=config["model_type"],
        vocab_size=vocab_size,
        tokenizer_size=tokenizer_size,
        n_parameters=n_parameters,
        dtypes=dtypes,
        has_chat_template=templates or bool(tokenizer_config.get("chat_template")),
        pad_token=pad["content"] if isinstance(pad, dict) else pad,
    )


def read_json(path: Path) -> dict:
    """A JSON file of a model folder.

    Raises:
        AssetError: the file is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AssetError(f"{path} is missing; a transformers model folder needs it") from None
    except ValueError as error:
        raise AssetError(f"{path} is no JSON file ({error}); fetch the asset again") from error


def _count_parameters(folder: Path) -> tuple[int, list[str]]:
    from safetensors import SafetensorError, safe_open

    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise AssetError(f"{folder} has no *.safetensors; pickled weights (.bin, .pt) are not read, convert them first")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        missing = set(read_json(index).get("weight_map", {}).values()) - {path.name for path in paths}
        if missing:
            raise AssetError(f"{index} names {sorted(missing)}, which are not there; complete `files` of the source")
    count, dtypes = 0, set()
    for path in paths:
        try:
            with safe_open(path, "np") as tensors:
                for name in tensors.keys():  # noqa: SIM118 - the handle is no mapping
                    part = tensors.get_slice(name)
                    count += math.prod(part.get_shape())
                    dtypes.add(part.get_dtype())
        except SafetensorError as error:
            raise AssetError(f"{path} is truncated or no safetensors file ({error}); fetch the asset again") from error
    return count, sorted(dtypes)


def _tokenizer_size(path: Path) -> int | None:
    if not path.is_file():
        return None
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path)).get_vocab_size(with_added_tokens=True)
    except Exception as error:
        # The library raises bare Exception for whatever is wrong in the file.
        raise AssetError(f"{path} is no tokenizer file ({error}); fetch the asset again") from error
