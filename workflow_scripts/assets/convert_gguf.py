"""Turns a GGUF language model into a transformers folder in bfloat16, with its tokenizer and template."""

from importlib.metadata import version
from pathlib import Path

from workflow_scripts.assets.errors import AssetError


def convert_gguf(original: Path, target: Path) -> dict[str, str]:
    """Dequantise a model and save it with its tokenizer.

    Tokens are saved as the file has them: a model without a padding token stays without one.

    Args:
        original: folder with one .gguf file.
        target: folder to write to; exists.

    Returns:
        Versions of the libraries used, by name.

    Raises:
        AssetError: not exactly one .gguf file, the file cannot be read or does not fill the model, or the
            tokenizer has more ids than the model has embeddings.
    """
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    found = sorted(path.name for path in original.rglob("*.gguf"))
    if len(found) != 1:
        raise AssetError(f"{original} must hold one .gguf file, it holds {found}; correct `files` in the config")
    name = found[0]
    try:
        # Without `dequantize` the model counts as quantised and cannot be saved as an ordinary one.
        model, loading = AutoModelForCausalLM.from_pretrained(
            original,
            gguf_file=name,
            quantization_config=GgufConfig(dequantize=True),
            dtype=torch.bfloat16,
            output_loading_info=True,
            trust_remote_code=False,
        )
        tokenizer = AutoTokenizer.from_pretrained(original, gguf_file=name, trust_remote_code=False)
    except (ValueError, KeyError, NotImplementedError, OSError) as error:
        raise AssetError(
            f"{original / name} cannot be read as a GGUF model: {type(error).__name__}: {error}"
        ) from error
    # Tied tensors are listed as missing by some versions although they are filled.
    missing = set(loading["missing_keys"]) - set(model.all_tied_weights_keys)
    unexpected = set(loading["unexpected_keys"])
    if missing or unexpected:
        raise AssetError(
            f"{original / name} does not fill {type(model).__name__}: missing {sorted(missing)}, "
            f"unexpected {sorted(unexpected)}"
        )
    rows = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > rows:
        raise AssetError(f"{original / name}: the tokenizer has {len(tokenizer)} ids, the model {rows} embeddings")
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    return {
        "gguf": version("gguf"),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
