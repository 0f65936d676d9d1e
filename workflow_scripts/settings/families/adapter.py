"""Models behind a class that the user brings."""

from typing import Any, Literal

from pydantic import Field

from workflow_scripts.settings.families.public import CLASS_PATH, PublicModel


class AdapterModel(PublicModel):
    """A model behind a user-defined class."""

    family: Literal["adapter"] = Field(description="A third-party `SpeechLM` class.")
    adapter: str = Field(
        pattern=CLASS_PATH, description="`package.module:Class`; it is imported and run, so name only what you trust."
    )
    options: dict[str, Any] = Field(default={}, description="Keyword arguments of the class.")
