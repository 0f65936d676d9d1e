"""Models of transformers with a processor: audio embeddings take the place of placeholder ids."""

from typing import Literal

from pydantic import Field

from workflow_scripts.settings.families.public import PublicModel


class HfModel(PublicModel):
    """A placeholder model of transformers with its processor."""

    family: Literal["hf"] = Field(description="Audio embeddings take the place of placeholder ids in the model.")
    class_name: str | None = Field(
        default=None,
        alias="class",
        pattern=r"^[A-Za-z]\w*$",
        description="Class in transformers; default: the one its config names.",
    )
    template: Literal["native", "matched"] = Field(
        default="native", description="matched: the same frame around speech and text."
    )
    audio_token: str | None = Field(default=None, description="Text of one placeholder; default: the processor's.")
    positions_per_second: float | None = Field(
        default=None, gt=0, description="For models that fill the whole window: what trims the padding."
    )
    max_seconds: float | None = Field(default=None, gt=0, description="Longest clip; default: the extractor's window.")
    lora: Literal["auto", "always", "speech", "never"] = Field(
        default="auto", description="When a LoRA is on; auto: as trained (Granite, Phi: for speech only)."
    )
    lora_subfolder: str | None = Field(
        default=None, pattern=r"^[\w-]+$", description="Folder of a LoRA inside the weights, such as speech-lora."
    )
