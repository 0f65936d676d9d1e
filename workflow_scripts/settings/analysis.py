"""Settings of evaluation, activations, similarity, alignment and correlation."""

from typing import Literal

from pydantic import Field, model_validator

from workflow_scripts.settings.base import Names, Settings

Form = Literal["text", "speech", "asr"]


class EvaluationSettings(Settings):
    """Which questions are answered, how answers are generated and scored."""

    subsets: Names | None = Field(
        default=None,
        description="Subsets to answer; default: all. The others are still kept out of the training prompts.",
    )
    batch_size: int = Field(default=64, gt=0, description="Rows decoded together.")
    max_positions: int = Field(default=24576, gt=0, description="Rows times longest prompt in one batch at most.")
    option_log_probs: bool = Field(
        default=True, description="Probabilities of the options of multiple-choice questions beside the answers."
    )
    floors: bool = Field(
        default=True,
        description="Ask each model's last checkpoint with silence and with the audio of another question too "
        "(floors.csv): what it scores without listening.",
    )


class ActivationSettings(Settings):
    """Which hidden states are written and how."""

    subsets: Names | None = Field(default=None, description="Subsets to analyse; default: those in Overall.")
    batch_size: int = Field(default=16, gt=0, description="Rows of one forward pass.")
    layers: list[int] | None = Field(
        default=None,
        min_length=1,
        description="Layers to keep, 0 = embeddings, and to average Sim and APS over; the forward pass ends at the "
        "highest; default: all.",
    )
    compression: Literal["bitshuffle", "gzip", "none"] = Field(
        default="none",
        description="Of state files that are kept: gzip stores about 0.7 of the bytes; bitshuffle-lz4 0.8, faster, but "
        "readers need hdf5plugin.",
    )
    keep: bool = Field(default=False, description="Keep the state files after similarity and alignment.")
    reading_questions: int = Field(
        default=3,
        ge=0,
        description="First questions of each subset on which padded speech, template positions and the state after the "
        "final norm are measured too (sensitivity.csv); 0 for none.",
    )

    @model_validator(mode="after")
    def _layers_beyond_embeddings(self) -> "ActivationSettings":
        if self.layers is None:
            return self
        if min(self.layers) < 0 or len(set(self.layers)) < len(self.layers):
            raise ValueError(f"layers {self.layers}: name different layers, 0 (embeddings) or above")
        if max(self.layers) == 0:
            raise ValueError(f"layers {self.layers}: name at least one above 0; Sim and APS leave out the embeddings")
        return self


class NullSettings(Settings):
    """The shuffled-pair null: speech of one question against the text of another of like length."""

    draws: int = Field(default=200, ge=1, description="Derangements; p cannot go below 1 / (draws + 1).")
    massive_dimensions: int = Field(
        default=4, ge=0, description="Dimensions of massive activations left out of the trimmed cosine."
    )


class ResponseSettings(Settings):
    """Divergence between the forms on shared answer prefixes."""

    questions: int = Field(default=4, gt=0, description="Questions of each analysed subset, from its first shard.")
    positions: int = Field(default=12, gt=0, description="Longest prefix, in answer tokens.")
    lens_questions: int = Field(
        default=4,
        ge=0,
        description="Questions of each subset under the logit lens, at most `questions`; first and last checkpoint.",
    )
    lens_layers: int = Field(default=6, gt=1, description="Layers under the logit lens, evenly spaced from 0 to L.")
