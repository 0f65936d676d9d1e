"""manifest.json: what a reader needs to reproduce or doubt the numbers.

Settings with their hash, code version, installed packages, weights and data with checksums, sample ids, hardware, wall
time per rule, and the SHA-256 of every table.
"""

import csv
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.artifacts.files import ArtifactError, read_json, sha256_file, write_text
from workflow_scripts.artifacts.provenance import provenance
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import UTTERANCES

SCHEMA = "manifest/1"
PARTS = ("hardware", "packages", "assets", "checkpoints", "samples", "utterances", "wall_seconds", "sha256")
"""Beside what every record of provenance has."""


def build_manifest(
    tables: Sequence[Path],
    assets: Sequence[Path],
    checkpoints: Sequence[Path],
    questions: Sequence[Path],
    manifests: Sequence[Path],
    manifest: Path,
    settings: dict[str, Any],
    rule_times: Path,
) -> None:
    """Collect and write the manifest; display settings are left out, as they change no number."""
    content = {
        "schema": SCHEMA,
        **provenance(settings),
        "hardware": hardware(),
        "packages": {found.metadata["Name"]: found.version for found in distributions()},
        "assets": {Path(path).parent.name: read_json(Path(path), "the fetch step") for path in assets},
        "checkpoints": {
            index.model: {entry.name: entry.sha256 for entry in index.checkpoints}
            for index in map(CheckpointIndex.read, map(Path, checkpoints))
        },
        "samples": {Path(path).parent.name: [record.id for record in QUESTIONS.read(path)] for path in questions},
        "utterances": {Path(path).parent.name: speech_facts(Path(path)) for path in manifests},
        "wall_seconds": wall_seconds(rule_times),
        "sha256": {str(path): sha256_file(path) for path in tables},
    }
    write_text(Path(manifest), json.dumps(content, indent=1, sort_keys=True, default=str) + "\n")


def read_manifest(path: Path) -> dict[str, Any]:
    """The content of a manifest.

    Raises:
        ArtifactError: it is missing, cut off, of another schema, or lacks a part.
    """
    content = read_json(Path(path), "the manifest step")
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ArtifactError(f"{path}: no manifest of schema {SCHEMA!r}; delete it and run again")
    if missing := [name for name in ("settings", "code_version", "libraries", *PARTS) if name not in content]:
        raise ArtifactError(f"{path}: {', '.join(missing)} missing; delete it and run again")
    return content


def hardware() -> dict[str, Any]:
    """Processor, cores and memory of this machine."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages * page / 1e9, 1),
        "system": platform.platform(),
    }


def speech_facts(path: Path) -> dict[str, Any]:
    """Counts, hours and mean WER of one subset's utterances."""
    records = UTTERANCES.read(path)
    errors = [record.wer for record in records if record.wer is not None]
    reasons = sorted({record.reason.split(":")[0] for record in records if not record.kept})
    return {
        "spoken": len(records),
        "kept": sum(record.kept for record in records),
        "hours": round(sum(record.seconds for record in records) / 3600, 3),
        "mean_wer": round(sum(errors) / len(errors), 4) if errors else None,
        "reasons_dropped": reasons[:20],
    }


def wall_seconds(folder: Path) -> dict[str, float]:
    """Seconds per stage, summed over the jobs whose `benchmark:` files lie below `folder`."""
    total: dict[str, float] = {}
    for path in sorted(Path(folder).rglob("*.tsv")):
        with open(path, encoding="utf-8", newline="") as source:
            seconds = sum(float(row["s"]) for row in csv.DictReader(source, delimiter="\t"))
        stage = path.relative_to(folder).parts[0]
        total[stage] = round(total.get(stage, 0.0) + seconds, 1)
    return total


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_manifest(
            s.input.tables,
            s.input.assets,
            s.input.checkpoints,
            s.input.questions,
            s.input.manifests,
            s.output.manifest,
            s.params.identity,
            Path("results/rule_times"),
        ),
    )
