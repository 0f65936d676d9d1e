"""Checks that a fetched model can be a study's language model, before anything is computed for it."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workflow_scripts.assets.errors import AssetError
from workflow_scripts.speech_lm.families.chat import ChatTemplate
from workflow_scripts.speech_lm.protocol import SpeechLMError

logger = logging.getLogger(__name__)

SAMPLE = "What is the capital of France?"


def check_backbone(name: str, folder: Path, vocab_size: int | None) -> None:
    """Check tokenizer and chat template of a transformers folder, without loading its weights.

    Args:
        name: what errors call the model.
        vocab_size: rows of the token embeddings, None if unknown.

    Raises:
        AssetError: there is no chat template, it does not show the user's turn exactly once and unchanged, a token of
            it is not in the vocabulary, or the tokenizer names no token that ends an answer.
    """
    from workflow_scripts.speech_lm.transformers_folder import load_tokenizer

    tokenizer = load_tokenizer(folder)
    try:
        ChatTemplate(tokenizer, model_name=name, n_embeddings=vocab_size).write(SAMPLE)
    except SpeechLMError as error:
        raise AssetError(f"{error} (needed because `models` names {name!r} as a backbone)") from error
    if tokenizer.eos_token_id is None:
        raise AssetError(
            f"{name}: the tokenizer has no eos_token, which has to end the answers of a backbone; use an "
            "instruction-tuned model, or add it to tokenizer_config.json"
        )


def check_public(model: Mapping[str, Any], folder: Path) -> None:
    """Check that a folder can be a public model of the study, without loading its weights.

    Args:
        model: an entry of `Plan.public_checks`.

    Raises:
        AssetError: it cannot; says why and what to do.
    """
    from workflow_scripts.speech_lm.opening.folder_checks import check_public_folder

    try:
        facts = check_public_folder(folder, model)
    except SpeechLMError as error:
        raise AssetError(str(error)) from error
    if not facts.editable:
        logger.warning("%s only runs as a whole: it is measured, and left out of the interventions", model["name"])
