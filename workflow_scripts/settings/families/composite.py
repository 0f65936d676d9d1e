"""Encoder + adapter + language model: models that this workflow trains, and checkpoints of such a training."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.settings.base import Seed, Settings, Step
from workflow_scripts.settings.families.base import ModelSettings, Recipes
from workflow_scripts.settings.training import Strategy


class DistillSettings(Settings):
    """A loss beside the answer loss, by which the same model after the written question teaches it after the spoken."""

    loss: Literal["cosine", "forward_kl", "reverse_kl"] = Field(
        default="cosine",
        description="`cosine`: of speech states and their text tokens along the path. `forward_kl`: KL of the answer's "
        "distribution after the written question from that after the spoken one; `reverse_kl`: the other way round.",
    )
    weight: float = Field(gt=0, description="Weight of this loss; the answer loss has weight 1.")
    layers: list[int] | None = Field(
        default=None,
        min_length=1,
        description="State indices l at which the cosine is taken: 0 = embeddings, l = input of layer l, L = output. "
        "Needed by `cosine`, and its alone.",
    )
    positions: int | None = Field(
        default=None, gt=0, description="First positions of the answer that a KL is taken at; default: all of them."
    )

    @model_validator(mode="after")
    def _loss_has_what_it_reads(self) -> "DistillSettings":
        of_states = self.loss == "cosine"
        if of_states != (self.layers is not None):
            raise ValueError(
                f"loss {self.loss!r} with layers {self.layers}: the cosine is taken at layers, a KL at none; "
                f"{'name some' if of_states else 'remove layers'}"
            )
        if of_states and self.positions is not None:
            raise ValueError(f"loss 'cosine' with positions {self.positions}: those are a KL's; remove positions")
        if self.layers and (len(set(self.layers)) < len(self.layers) or min(self.layers) < 0):
            raise ValueError(f"layers {self.layers} must be different and not negative")
        return self


class TrainedModel(ModelSettings):
    """An LSLM trained by this workflow."""

    trained_here: ClassVar[bool] = True

    family: Literal["composite"] = Field(default="composite", description="Encoder + adapter + causal LM.")
    backbone: str = Field(description="Key of `assets`: the instruct LLM.")
    encoder: str = Field(description="Key of `assets`: the Whisper model whose encoder is used, frozen.")
    strategy: Strategy = Field(
        description="What is trained: the `adapter` alone, or with it `lora` on the LLM or the `full` LLM."
    )
    recipe: str = Field(description="Key of training.recipes.")
    seed: Seed = Field(default=0, description="Seed of initialisation, order and dropout.")
    start: str | None = Field(
        default=None,
        description="Key of `models`: start from the adapter of that model's last checkpoint instead of the recipe's "
        "warm-up.",
    )
    processes: int = Field(
        default=1, gt=0, description="Processes that train together, one per GPU; batch_size is over all of them."
    )
    shard: bool = Field(
        default=False,
        description="Split weights, gradients and optimiser state over the processes (FSDP), for full fine-tuning of "
        "models that one GPU cannot hold.",
    )
    distill: DistillSettings | None = Field(default=None, description="A loss beside the answers'; default: none.")

    not_opened: ClassVar[frozenset[str]] = frozenset(
        {"backbone", "encoder", "strategy", "recipe", "seed", "start", "processes", "shard", "distill"}
    )

    @model_validator(mode="after")
    def _can_be_split(self) -> "TrainedModel":
        if self.shard and (self.strategy != "full" or self.processes < 2 or self.distill is not None):
            raise ValueError(
                f"shard with strategy {self.strategy!r}, {self.processes} process(es)"
                f"{' and distill' if self.distill is not None else ''}: only full fine-tuning by several processes, "
                "without distill, can be split; remove shard"
            )
        return self

    def checkpoints_folder(self, name: str) -> str:
        """Where the training step writes."""
        return f"results/training/{name}"

    @property
    def parts(self) -> dict[str, str]:
        """The language model and the speech encoder."""
        return {"backbone": self.backbone, "encoder": self.encoder}

    @property
    def frozen(self) -> bool:
        """Whether only the adapter is trained."""
        return self.strategy == "adapter"

    def checkpoint_steps(self, recipes: Recipes) -> list[int]:
        """Those of its recipe."""
        return recipes[self.recipe].checkpoint_steps

    def grouping(self, recipes: Recipes) -> dict[str, str]:
        """The warm-up is that of its recipe; strategy and LoRA's shape leave step 0 as it is.

        A run whose objective is CTC counts as warmed up: it shows no alignment that arose by itself.
        """
        recipe = recipes[self.recipe]
        imposed = "ctc" if recipe.heard_by_ctc else "none"
        if self.start is not None:
            start = f"{self.start} trained"
        else:
            warmup = recipe.ctc.model_dump() if recipe.warmup == "ctc" else None
            adapter = json.dumps([recipe.adapter.model_dump(), warmup, self.seed], sort_keys=True)
            digest = hashlib.sha256(adapter.encode()).hexdigest()[:12]
            start = f"{self.backbone} {self.encoder} {recipe.warmup} {digest}"
        return {"strategy": self.strategy, "backbone": self.backbone, "warmup": imposed, "start": start}


class CheckpointsModel(ModelSettings):
    """Checkpoints of a composite model, trained earlier or elsewhere with this workflow's training step."""

    family: Literal["checkpoints"] = Field(description="Encoder + adapter + causal LM, weights from a folder.")
    folder: str = Field(min_length=1, description="Folder with checkpoints.json and one folder per checkpoint.")
    steps: list[Step] = Field(min_length=1, description="Steps of the checkpoints to study, in order of training.")
    backbone: str = Field(description="Key of `assets`: the LLM they were trained from.")
    encoder: str = Field(description="Key of `assets`: the Whisper model whose encoder they were trained with.")
    strategy: Strategy = Field(description="What was trained: the adapter alone, or with it LoRA or the full LLM.")
    warmup: Literal["ctc", "none"] = Field(description="Whether the adapter had a CTC warm-up.")

    not_opened: ClassVar[frozenset[str]] = frozenset({"folder", "steps", "backbone", "encoder", "strategy", "warmup"})

    @model_validator(mode="after")
    def _steps_rise(self) -> "CheckpointsModel":
        if self.steps != sorted(set(self.steps)) or self.steps[0] < 0:
            raise ValueError(f"steps {self.steps} must rise strictly from 0 or more")
        return self

    def checkpoints_folder(self, name: str) -> str:
        """The folder named."""
        return self.folder.rstrip("/")

    @property
    def parts(self) -> dict[str, str]:
        """The language model and the speech encoder."""
        return {"backbone": self.backbone, "encoder": self.encoder}

    @property
    def frozen(self) -> bool:
        """Whether only the adapter is trained."""
        return self.strategy == "adapter"

    def checkpoint_steps(self, recipes: Recipes) -> list[int]:
        """Those named."""
        return self.steps

    def grouping(self, recipes: Recipes) -> dict[str, str]:
        """As the entry says; it does not say the seed, so that all starts of its backbone and warm-up count as one."""
        start = f"{self.backbone} {self.encoder} {self.warmup}"
        return {"strategy": self.strategy, "backbone": self.backbone, "warmup": self.warmup, "start": start}


def unlike_training(model: CheckpointsModel, index: Path) -> Iterator[tuple[str, str]]:
    """Keys of an entry that contradict the checkpoints.json of its folder, each with what is wrong.

    A wrong strategy would be silent: of `adapter` the backbone's answers to written questions are taken as its own.
    """
    try:
        found = CheckpointIndex.read(index)
    except ArtifactError as error:
        yield "folder", str(error)
        return
    kept = [entry.step for entry in found.checkpoints]
    if missing := [step for step in model.steps if step not in kept]:
        yield "steps", f"{missing} are not in {index}; it has {kept}"
    trained: Any = found.provenance
    for key in ("settings", "model", "strategy"):
        trained = trained.get(key) if isinstance(trained, dict) else None
    # Converted checkpoints say nothing of their training.
    if trained not in (None, model.strategy):
        yield "strategy", f"{model.strategy!r}, but {index} is of a training with {trained!r}; write {trained}"
