"""Turn a model as it was fetched into a transformers folder, and write its record last.

Apart from fetching, so that a change of a converter converts again what was fetched, and fetches nothing.
"""

import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import (
    RECORD_NAME,
    AssetRecord,
    files_below,
    read_asset_record,
    write_asset_record,
)
from workflow_scripts.assets.convert_gguf import convert_gguf
from workflow_scripts.assets.convert_whisper import convert_whisper
from workflow_scripts.assets.fetch_asset import model_facts
from workflow_scripts.assets.files import describe, disk_full_explained, keep_only, move, place

logger = logging.getLogger(__name__)

WORK_NAME = ".converting"


def _as_it_is(original: Path, target: Path) -> dict[str, str]:
    """A source that delivers a transformers folder already."""
    for file in files_below(original):
        place(original / file, target / file)
    return {}


CONVERTERS: Mapping[str, Callable[[Path, Path], dict[str, str]]] = {
    "transformers": _as_it_is,
    "gguf": convert_gguf,
    "ctranslate2_whisper": convert_whisper,
}
"""By the format that a source delivers; each fills a folder and gives the library versions it was made with."""


def convert_asset(
    original: Path, target: Path, *, backbone: bool = False, models: Sequence[Mapping[str, Any]] = ()
) -> AssetRecord:
    """Convert one asset, whose originals stay.

    Args:
        original: its record as it was fetched.
        target: its folder. It belongs to the asset alone: other files in it are removed.
        backbone, models: what the result is checked for, as in `fetch_asset`.

    Returns:
        The record, as written to `target/asset.json`; `originals` are the files it was made from.

    Raises:
        ArtifactError: the original is incomplete.
        AssetError: it cannot be converted, or is not what it should be.
        DiskFullError: no room.
    """
    fetched = read_asset_record(original)
    (target / RECORD_NAME).unlink(missing_ok=True)
    work = target / WORK_NAME
    with disk_full_explained(target):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        logger.info("asset %s: converting %s to a transformers folder", fetched.name, fetched.format)
        versions = CONVERTERS[fetched.format](original.parent, work)
        facts = model_facts(fetched.name, work, "transformers", backbone, models)
        names = files_below(work)
        for file in names:
            # Weights are saved readable by their owner only; colleagues on a cluster share this folder.
            if fetched.format != "transformers":
                (work / file).chmod(0o644)
            move(work / file, target / file)
        shutil.rmtree(work)
        keep_only(target, {file.as_posix() for file in names})
        record = fetched.model_copy(
            update={
                "format": "transformers",
                "files": {file.as_posix(): describe(target / file) for file in names},
                "originals": fetched.files if versions else {},
                "converted_with": versions,
                **facts,
            }
        )
        write_asset_record(target, record)
    return record


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: convert_asset(
            Path(s.input.original),
            Path(s.output.record).parent,
            backbone=s.params.backbone,
            models=s.params.models,
        ),
    )
