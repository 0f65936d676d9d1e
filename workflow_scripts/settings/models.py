"""The families of models: what an entry of `models` can be. A new one is registered by an entry of `FAMILIES`."""

import functools
import operator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from workflow_scripts.settings.families.adapter import AdapterModel
from workflow_scripts.settings.families.answers import AnswersModel
from workflow_scripts.settings.families.base import ModelSettings
from workflow_scripts.settings.families.composite import CheckpointsModel, TrainedModel
from workflow_scripts.settings.families.hf import HfModel
from workflow_scripts.settings.families.units import UnitsModel


@dataclass(frozen=True)
class Family:
    """A kind of models.

    Code that runs models is named as `package.module:function`: parsing a config must stay light.

    Attributes:
        settings: its entries in the config.
        opener: opens a model of it (signature: `speech_lm.opening.open_model.Opener`); "" where there is none to open.
        folder_check: (folder, entry) -> `FolderFacts`; checks the weights when they are fetched.
    """

    settings: type[ModelSettings]
    opener: str
    folder_check: str | None = None


FAMILIES = {
    "composite": Family(settings=TrainedModel, opener="workflow_scripts.speech_lm.families.composite:open_composite"),
    "checkpoints": Family(
        settings=CheckpointsModel, opener="workflow_scripts.speech_lm.families.composite:open_composite"
    ),
    "hf": Family(
        settings=HfModel,
        opener="workflow_scripts.speech_lm.families.hf:open_hf",
        folder_check="workflow_scripts.speech_lm.families.hf_folder:check_hf_folder",
    ),
    "units": Family(settings=UnitsModel, opener="workflow_scripts.speech_lm.families.units:open_units"),
    "adapter": Family(
        settings=AdapterModel,
        opener="workflow_scripts.speech_lm.families.adapter:open_adapter",
        folder_check="workflow_scripts.speech_lm.families.adapter:check_adapter",
    ),
    "answers": Family(settings=AnswersModel, opener=""),
}
"""By the value of `family`; the first is what an entry without it is."""

DEFAULT = next(iter(FAMILIES))


def _family_of(value: Any) -> Any:
    """The family of an entry, raw or parsed."""
    return value.get("family", DEFAULT) if isinstance(value, dict) else getattr(value, "family", None)


AnyModel = Annotated[
    functools.reduce(operator.or_, [Annotated[family.settings, Tag(name)] for name, family in FAMILIES.items()]),
    Discriminator(
        _family_of,
        custom_error_type="model_family",
        custom_error_message=f"family must be one of {', '.join(list(FAMILIES)[:-1])} and {list(FAMILIES)[-1]}",
    ),
]
