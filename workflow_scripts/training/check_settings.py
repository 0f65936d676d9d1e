"""Checks, before any training, that the config's layers and LoRA targets exist in the backbone.

Both are known as soon as the backbone is fetched: its config gives the number of layers, the headers of its safetensors
files the names of its linear maps. Found out later, the mistake would cost the training.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import safe_open
from transformers import AutoConfig

from workflow_scripts.artifacts.files import ArtifactError, write_text

SCHEMA = "training_check/1"


def check_settings(
    backbone: Path, output: Path, *, layers: Mapping[str, Sequence[int]], targets: Sequence[str]
) -> None:
    """Write what was checked.

    Args:
        backbone: folder of the language model (transformers, safetensors).
        layers: state indices by the config key that names them; 0 = embeddings, L = output of the last layer.
        targets: names of linear maps that get a LoRA update; empty without LoRA.

    Raises:
        ArtifactError: a layer or a target does not exist; names key, value and what there is.
    """
    n_layers = number_of_layers(backbone)
    for key, chosen in layers.items():
        if beyond := sorted({layer for layer in chosen if layer > n_layers}):
            raise ArtifactError(f"{key}: {beyond}, but {backbone.name} has layers 0 to {n_layers}")
    linears = linear_maps(backbone)
    if missing := sorted(set(targets) - set(linears)):
        raise ArtifactError(f"lora.targets: {missing}, but the linear maps of {backbone.name} are {linears}")
    facts = {"schema": SCHEMA, "backbone": backbone.name, "n_layers": n_layers, "linear_maps": linears}
    write_text(output, json.dumps(facts | {"layers": layers, "targets": list(targets)}, indent=1) + "\n")


def number_of_layers(folder: Path) -> int:
    """Decoder layers L of a transformers folder."""
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return config.get_text_config().num_hidden_layers


def linear_maps(folder: Path) -> list[str]:
    """Last names of the weight matrices inside the decoder's layers, such as q_proj; no weight is read."""
    names = set()
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                parts = key.split(".")
                if parts[-1] == "weight" and "layers" in parts and len(file.get_slice(key).get_shape()) == 2:
                    names.add(parts[-2])
    return sorted(names)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: check_settings(
            Path(s.input.backbone).parent, Path(s.output.checked), layers=s.params.layers, targets=s.params.targets
        ),
    )
