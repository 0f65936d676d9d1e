"""The whole config as one typed model; `parsing` reads it."""

from pydantic import Field

from workflow_scripts.settings.analysis import (
    ActivationSettings,
    EvaluationSettings,
    NullSettings,
    ResponseSettings,
)
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.settings.audits import AuditSettings
from workflow_scripts.settings.base import Seed, Settings
from workflow_scripts.settings.benchmark import BenchmarkSettings, SubsetSettings
from workflow_scripts.settings.display import DisplaySettings
from workflow_scripts.settings.intervention import InterventionSettings
from workflow_scripts.settings.models import AnyModel, ModelSettings
from workflow_scripts.settings.patching import PatchingSettings
from workflow_scripts.settings.probes import ProbeSettings
from workflow_scripts.settings.scoring import ScoringSettings
from workflow_scripts.settings.speech import SpeechSettings
from workflow_scripts.settings.training import TrainingSettings

INSTRUCTIONS = "instructions"
"""Reserved subset name of the training prompts, which pass through the speech stage like any subset."""

PUNKT = "punkt-english"
"""Asset with the sentence tokenizer that IFEval's checkers need; every study has it."""


class Config(Settings):
    """A study: what is fetched, asked, spoken, trained, measured and edited."""

    seed: Seed = Field(description="Seed of sampling and nulls.")
    system_prompt: str | None = Field(
        default=None,
        description="One system prompt for every model and form; default: the chat template's own.",
    )
    assets: dict[str, AssetSettings] = Field(description="Everything that is fetched.")
    benchmark: BenchmarkSettings = Field(description="Questions.")
    speech: SpeechSettings = Field(description="Voices and ASR.")
    training: TrainingSettings = Field(description="Training data and recipes.")
    models: dict[str, AnyModel] = Field(min_length=1, description="The models under study.")
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), description="Answers and scores.")
    scoring: ScoringSettings = Field(default=ScoringSettings(), description="Opt-in published scorers.")
    activations: ActivationSettings = Field(default=ActivationSettings(), description="Hidden states.")
    responses: ResponseSettings = Field(default=ResponseSettings(), description="Divergence between the forms.")
    chance: NullSettings = Field(default=NullSettings(), description="Chance levels.")
    audits: dict[str, AuditSettings] = Field(default={}, description="Answers made elsewhere, audited without a model.")
    intervention: InterventionSettings = Field(description="Edits of speech tokens.")
    patching: PatchingSettings | None = Field(
        default=None, description="States exchanged between the forms, by layer and position; null: not done."
    )
    probes: ProbeSettings | None = Field(
        default=None, description="What linear probes read off the states, by layer and form; null: not done."
    )
    display: DisplaySettings = Field(default=DisplaySettings(), description="Labels and colours.")

    def answered_subsets(self) -> dict[str, SubsetSettings]:
        """Subsets that the models answer."""
        chosen = self.evaluation.subsets
        return {name: one for name, one in self.benchmark.subsets.items() if chosen is None or name in chosen}

    @property
    def patched_subset(self) -> str:
        """Subset whose questions are patched."""
        return (self.patching and self.patching.subset) or self.intervention.subset

    def trained_models(self) -> dict[str, ModelSettings]:
        """Models that this workflow trains."""
        return {name: model for name, model in self.models.items() if model.trained_here}

    def public_models(self) -> dict[str, ModelSettings]:
        """Models whose weights are one asset."""
        return {name: model for name, model in self.models.items() if model.weights_asset(name) is not None}
