"""Are encoder features of the training prompts kept in a file, or computed in every training step?"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from workflow_scripts.planning.books import WORD_SECONDS, Books
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import INSTRUCTIONS, Config
from workflow_scripts.settings.training import PromptSource

DECIDED = "MODGAP_FEATURES"
"""Environment variable by which the jobs of a run know what was decided when it began."""
SHARE = 0.5
"""Of the free disk that cached features may take."""


def prompts_of(config: Config, chosen: Callable[[PromptSource], bool] = lambda _: True) -> tuple[float, float]:
    """Training prompts of the chosen sources, and the seconds of speech that they are.

    Seconds are estimated from the middle of each source's shortest and longest prompt.
    """
    prompts = config.training.instructions
    each = (prompts.prompts + prompts.heldout) / sum(source.share for source in prompts.sources)
    counted = [(each * source.share, source) for source in prompts.sources if chosen(source)]
    words = sum(
        count * ((source.min_words or prompts.min_words) + (source.max_words or prompts.max_words)) / 2
        for count, source in counted
    )
    return sum(count for count, _ in counted), WORD_SECONDS * words


def prompt_seconds(config: Config) -> float:
    """Speech of all training prompts."""
    return prompts_of(config)[1]


def features_bytes(config: Config, books: Books) -> int:
    """Size of the cached features of the training prompts, by all encoders: 50 frames a second, two bytes a number."""
    encoders = {entry.encoder for entry in config.trained_models().values()}
    widths = [size.d for size in map(books.size, sorted(encoders)) if size is not None]
    return int(sum(widths) * 2 * 50 * prompt_seconds(config))


def features_online(config: Config, books: Books) -> tuple[bool, str]:
    """Whether they are computed online, and why. `auto` stays with what a finished step of the study used."""
    if (chosen := config.training.features) != "auto":
        return chosen == "online", f"training.features is {chosen}"
    if os.environ.get(DECIDED):
        return os.environ[DECIDED] == "online", "as decided when the run began"
    voice = Study(config).voice(INSTRUCTIONS)
    if any(Path(f"results/speech/{voice}/{INSTRUCTIONS}").glob("*.features.h5")):
        online, why = False, "they are there"
    else:
        needed, free = features_bytes(config, books), shutil.disk_usage(".").free
        online = needed > SHARE * free or any(Path("results/training").glob("*/checkpoints.json"))
        why = f"about {needed / 1e9:,.1f} GB, free on this disk {free / 1e9:,.1f} GB"
    return online, why
