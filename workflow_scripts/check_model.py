"""Check any model of a config and print the table: `python -m workflow_scripts.check_model <entry>`.

    python -m workflow_scripts.check_model qwen2-audio --configfile studies/public_models.yaml

`<entry>` is a key of `models:`. A public model's weights and a trained model's checkpoints must be there already; what
is missing is named with the command that makes it. Exit status 1 if a check fails.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.artifacts.checkpoints import CheckpointIndex
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import Config, ConfigError, read_study
from workflow_scripts.settings.base import nearest
from workflow_scripts.speech_lm.device import resolve_device, resolve_dtype
from workflow_scripts.speech_lm.opening.model_checks import CheckResult, architecture, confounds, run_checks
from workflow_scripts.speech_lm.opening.open_model import load_model
from workflow_scripts.speech_lm.protocol import ModelFolders, SpeechLM, SpeechLMError

ROOT = Path(__file__).parents[1]


def open_entry(config: Config, root: Path, entry: str, checkpoint: str | None = None) -> SpeechLM:
    """A checkpoint (default: the last) of a model of the config, loaded but not checked.

    Raises:
        SpeechLMError: no such entry, or its files are not there; names the command that makes them.
    """
    if entry not in config.models:
        raise SpeechLMError(f"models has no entry {entry!r}{nearest(entry, config.models)}")
    model, study = config.models[entry], Study(config)
    if not model.opened:
        raise SpeechLMError(f"{entry}: family {model.family!r} has answers only, there is no model to check")
    index, parts = root / model.loaded_from(entry), {role: root / "resources" / a for role, a in model.parts.items()}
    needed = [index, *(folder / "asset.json" for folder in parts.values())]
    if missing := [str(path).removeprefix(f"{root}/") for path in needed if not path.is_file()]:
        raise SpeechLMError(
            f"{entry}: {', '.join(missing)} missing; make it, with the same --configfile: snakemake --cores 1 "
            f"{' '.join(missing)}"
        )
    weights = index.parent
    if model.checkpoints_folder(entry) is not None:
        weights = CheckpointIndex.read(index).folder(index, checkpoint or study.checkpoints(entry)[-1])
    settings = model.opening(entry) | {"window_seconds": config.speech.window_seconds}
    device = resolve_device("auto")
    return load_model(
        ModelFolders(weights, **parts),
        settings,
        device=device,
        dtype=resolve_dtype(settings.get("dtype", "auto"), device),
        system_prompt=config.system_prompt,
    )


def table(results: Sequence[CheckResult]) -> str:
    """A Markdown table of checks."""
    rows = [("check", "result", "detail"), *((r.check, "ok" if r.passed else "FAILED", r.detail) for r in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"| {a.ljust(widths[0])} | {b.ljust(widths[1])} | {c} |" for a, b, c in rows]
    return "\n".join([lines[0], f"|{'-' * (widths[0] + 2)}|{'-' * (widths[1] + 2)}|---|", *lines[1:]])


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Check one entry and print; gives the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("entry", help="key of models in the config")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="studies on top of the default config")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        lm = open_entry(read_study(root, options.configfile), root, options.entry)
    except (SpeechLMError, ConfigError, ValueError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # a model's own code may raise anything
        print(f"{options.entry}: cannot be opened: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    results = run_checks(lm)
    print(f"{lm.name}: {architecture(lm)} as {type(lm).__name__}, {lm.dtype}, {lm.device}\n")
    print(table(results))
    if not all(result.passed for result in results):
        return 1
    for confound in confounds(lm):
        print(f"\ntemplate confound: {confound}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
