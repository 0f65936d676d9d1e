"""What settings, plan and steps ask of a model's entry; every family answers for itself."""

from collections.abc import Mapping
from typing import Any, ClassVar

from workflow_scripts.artifacts.checkpoints import checkpoint_name
from workflow_scripts.settings.base import Settings
from workflow_scripts.settings.training import RecipeSettings

FINAL = "final"
"""The one checkpoint of a model that has no training of ours."""

Recipes = Mapping[str, RecipeSettings]


class ModelSettings(Settings):
    """An entry of `models`.

    A family defines the field `family` with its name as the only value, and what differs from the defaults below.
    """

    trained_here: ClassVar[bool] = False
    """Whether the workflow trains it by a recipe."""
    opened: ClassVar[bool] = True
    """Whether there is a model to open; if not, it has answers but no states, floors or edits."""
    not_opened: ClassVar[frozenset[str]] = frozenset()
    """Fields that opening the model does not read: a change of them reruns nothing that opens it."""

    def opening(self, name: str) -> dict[str, Any]:
        """The parameters of a step that opens the model: the entry's name, its family, and what the opener reads."""
        return {"name": name, **self.model_dump(mode="json", exclude=set(self.not_opened))}

    # --- where its parts are -----------------------------------------------------------------------------------

    def checkpoints_folder(self, name: str) -> str | None:
        """The folder with checkpoints.json, None for a model whose weights are one asset."""
        return None

    def weights_asset(self, name: str) -> str | None:
        """Key of `assets` of the weights, None for a model with checkpoints."""
        return None

    def loaded_from(self, name: str) -> str:
        """The file by which the weights are loaded: checkpoints.json, or the record of the weights' asset."""
        folder = self.checkpoints_folder(name)
        return f"resources/{self.weights_asset(name)}/asset.json" if folder is None else f"{folder}/checkpoints.json"

    @property
    def language_model(self) -> str | None:
        """Key of `assets` of the untuned language model, None if it is not known."""
        return getattr(self, "backbone", None)

    @property
    def parts(self) -> dict[str, str]:
        """What opening it needs beside the weights: role (backbone, encoder, quantizer) -> key of `assets`.

        A model with an encoder reads the cached features of that encoder, one without takes the audio itself.
        """
        return {}

    def asset_fields(self, name: str) -> dict[str, str]:
        """Every asset that the model is made of: field of the entry -> key of `assets`."""
        fields = {"asset": self.weights_asset(name), "backbone": self.language_model, **self.parts}
        return {field: asset for field, asset in fields.items() if asset is not None}

    # --- what it is --------------------------------------------------------------------------------------------

    def checkpoint_steps(self, recipes: Recipes) -> list[int] | None:
        """Training steps of its checkpoints, in order; None for a model without any."""
        return None

    def checkpoints(self, recipes: Recipes) -> list[str]:
        """Names of its checkpoints, in order of training."""
        steps = self.checkpoint_steps(recipes)
        return [FINAL] if steps is None else [checkpoint_name(step) for step in steps]

    def grouping(self, recipes: Recipes) -> dict[str, str]:
        """Strategy, backbone and warm-up, by which regressions group models, and `start`: what step 0 is made from.

        Models with the same `start` are one model before training, whatever is then trained of it.
        """
        return {"strategy": "public", "backbone": self.language_model or "unknown", "warmup": "unknown", "start": ""}

    @property
    def frozen(self) -> bool:
        """Whether it is its untuned language model in writing, with the same answers."""
        return False

    @property
    def editable(self) -> bool:
        """Whether its hidden states can be edited for the interventions."""
        return True

    @property
    def forms(self) -> list[str]:
        """Forms in which there are answers of it."""
        return ["text", "speech", "asr"]
