"""The report: one HTML page that needs no network, with headline numbers, figures, tables and a browser of samples.

Everything on it comes from the study's files; whatever a data set, a recogniser or a model wrote is escaped by the
template engine, samples are carried as JSON and put into the page as text only, and a content security policy lets no
script run but the page's own.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from workflow_scripts.artifacts.files import require, write_text
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.build_manifest import read_manifest
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.labels import Labels
from workflow_scripts.report.learning import learning_table
from workflow_scripts.report.numbers import NOTHING, fixed
from workflow_scripts.report.samples import build_samples
from workflow_scripts.report.shown_tables import read_judgements, read_shown_table
from workflow_scripts.report.table import JUDGEMENTS, TABLES

RESULTS = ("gap", "decline", "checkpoints")
"""Tables of the headline numbers."""
VERDICTS = ("claims", "regression", "interventions_controls")
"""Tables of the section on claims; all others stand in the section on tables."""


def build_report(
    template: Path,
    html: Path,
    *,
    figures: Sequence[Path],
    figure_texts: Mapping[str, Mapping[str, str]],
    tables: Sequence[Path],
    logs: Sequence[Path],
    manifest: Path,
    results: Mapping[str, Path],
    browser: Mapping[str, Sequence[Path]],
    models: Mapping[str, Mapping[str, str]],
    trained: Sequence[str],
    subsets: Mapping[str, str],
    samples: int,
    display: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        template: the Jinja template.
        figures: SVG files, in the order of the page. figure_texts: title and caption by the figure's name.
        tables: CSV files of `table.TABLES` and `table.JUDGEMENTS`.
        logs: training logs of `trained`, the models that were trained here.
        manifest: manifest.json of the study.
        results: paths of `gap`, `decline` and `checkpoints`.
        browser: files of `questions` and `utterances`, one per subset, and all `answers` and `scores`.
        models: strategy, backbone and warmup of each model.
        subsets: how a subset differs from the paper's, by key; "" if it does not.
        samples: samples shown per subset.
        display: DisplaySettings as plain values.

    Raises:
        ArtifactError: a file is missing or does not fit the others; names the file and the remedy.
    """
    labels = Labels(display)
    titles = labels.subsets(subsets)
    study = read_manifest(Path(manifest))
    paths = {Path(path).stem: Path(path) for path in tables}
    shown = {name: read_judgements(paths[name]) for name in JUDGEMENTS if name in paths}
    shown |= {name: read_shown_table(paths[name], titles) for name in TABLES if name in paths}
    content = {
        "title": labels.title,
        "models": [{"key": key, "label": labels.model(key), **facts} for key, facts in models.items()],
        "subsets": titles,
        "voice": _voice(study),
        "notes": [note for note in subsets.values() if note],
        "headlines": headlines(list(models), *(read_table(results[name], name) for name in RESULTS)),
        "figures": [_figure(Path(path), figure_texts) for path in figures],
        "verdicts": [shown[name] for name in VERDICTS if name in shown],
        "tables": [table for name, table in shown.items() if name not in VERDICTS],
        "nothing": NOTHING,
        "learning": learning_table([labels.model(key) for key in trained], logs),
        "samples": build_samples(list(subsets), n=samples, **browser),
        "study": study,
    }
    write_text(Path(html), render(template, content))


def render(template: Path, content: Mapping[str, Any]) -> str:
    """The page as text; an undefined name in the template is an error, and everything is escaped."""
    path = Path(template)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": fixed, "csp_hash": csp_hash}
    return environment.get_template(path.name).render(content)


def csp_hash(text: str) -> str:
    """Source expression of a content security policy that allows exactly this inline script or style."""
    digest = base64.b64encode(hashlib.sha256(str(text).encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _figure(path: Path, texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    encoded = base64.b64encode(require(path, "the figure's step").read_bytes()).decode("ascii")
    return {"name": path.stem, **texts[path.stem], "uri": f"data:image/svg+xml;base64,{encoded}"}


def _voice(study: Mapping[str, Any]) -> dict[str, Any]:
    """Name and engine of the voice that reads the questions, as the manifest's settings say."""
    speech = study.get("settings", {}).get("speech", {})
    name = speech.get("voice")
    return {"name": name, "engine": speech.get("voices", {}).get(name, {}).get("engine")}


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_report(
            s.input.templates[0],
            s.output.html,
            results={name: s.input[name] for name in RESULTS},
            browser={name: s.input[name] for name in ("questions", "utterances", "answers", "scores")},
            **{name: s.input[name] for name in ("figures", "tables", "logs", "manifest")},
            **{name: s.params[name] for name in ("figure_texts", "models", "trained", "subsets", "samples", "display")},
        ),
    )
