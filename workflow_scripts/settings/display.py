"""Settings read by figures and report only: changing them never recomputes a number."""

from pydantic import Field

from workflow_scripts.settings.base import Label, Settings


class ModelDisplay(Settings):
    """How a model is shown."""

    label: Label = Field(description="Name in figures and tables.")
    color: str | None = Field(default=None, pattern=r"^#[0-9a-fA-F]{6}$", description="Colour; default: palette.")


class DisplaySettings(Settings):
    """Titles, labels and colours."""

    title: str = Field(default="Speech-text modality gap", description="Title of the report.")
    models: dict[str, ModelDisplay] = Field(default={}, description="Display of models by key; default: the key.")
    subsets: dict[str, Label] = Field(default={}, description="Labels of subsets; default: the key.")
    example_layer: int | None = Field(default=None, ge=0, description="Layer of the token-matrix figure.")
