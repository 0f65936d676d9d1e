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

from workflow_scripts.artifacts.files import read_json, require, write_text
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.report.captions import JUDGEMENTS, STAND_INS, TABLES
from workflow_scripts.report.claims import RULE, regression_claims
from workflow_scripts.report.headline import headlines
from workflow_scripts.report.html_tables import NOTHING, fixed, shown_table, with_interval
from workflow_scripts.report.learning import learning_table
from workflow_scripts.report.samples import build_samples
from workflow_scripts.settings.display import DisplaySettings


def build_report(
    template: Path,
    figures: Sequence[Path],
    figure_texts: Mapping[str, Mapping[str, str]],
    tables: Sequence[Path],
    curves: Sequence[Path],
    manifest: Path,
    html: Path,
    *,
    results: Mapping[str, Path],
    browser: Mapping[str, Sequence[Path]],
    models: Mapping[str, Mapping[str, str]],
    trained: Sequence[str] | None = None,
    subsets: Sequence[str],
    samples: int,
    display: Mapping[str, Any],
) -> None:
    """Write the page.

    Args:
        template: the Jinja template.
        figures: SVG files, in the order of the page. tables: CSV files of results/tables.
        figure_texts: title and caption by the figure's name.
        curves: training logs, in the order of `trained`.
        manifest: manifest.json of the study.
        results: paths of `gap`, `decline`, `regression`, `checkpoints` and `tests`.
        browser: files of `questions` and `utterances`, one per subset, and all `answers` and `scores`.
        models: strategy, backbone and warmup of each model.
        trained: the models that were trained here; default: all.
        samples: samples shown per subset.
        display: DisplaySettings as plain values.

    Raises:
        ArtifactError: a file is missing or does not fit the others; names the file and the remedy.
    """
    settings = DisplaySettings.model_validate(display)
    names = {key: settings.models[key].label if key in settings.models else key for key in models}
    titles = {key: settings.subsets.get(key, key) for key in subsets}
    read = {name: read_table(path) for name, path in results.items()}
    study = read_json(Path(manifest), "the manifest step")
    shown = [shown_table(path, titles) for path in _in_order(tables, [*JUDGEMENTS, *TABLES])]
    content = {
        "title": settings.title,
        "models": [{"key": key, "label": names[key], **facts} for key, facts in models.items()],
        "subsets": titles,
        "voice": _voice(study),
        "stand_ins": [text for key, text in STAND_INS.items() if key in titles],
        "headlines": headlines(list(models), read["gap"], read["decline"], read["checkpoints"]),
        "claims": regression_claims(read["regression"]),
        "rule": RULE,
        "edits": [{**row, "label": names.get(row["model"], row["model"])} for row in read["tests"]],
        "figures": [_figure(Path(path), figure_texts) for path in figures],
        "judged": [table for table in shown if table.name == "claims"],
        "tables": [table for table in shown if table.name != "claims"],
        "nothing": NOTHING,
        "learning": learning_table([names[key] for key in (models if trained is None else trained)], curves),
        "samples": build_samples(subsets, n=samples, **browser),
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
    environment.filters |= {"fixed": fixed, "with_interval": with_interval, "csp_hash": csp_hash}
    return environment.get_template(path.name).render(content)


def csp_hash(text: str) -> str:
    """Source expression of a content security policy that allows exactly this inline script or style."""
    digest = base64.b64encode(hashlib.sha256(str(text).encode("utf-8")).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _figure(path: Path, texts: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    encoded = base64.b64encode(require(path, "the figure's step").read_bytes()).decode("ascii")
    return {"name": path.stem, **texts[path.stem], "uri": f"data:image/svg+xml;base64,{encoded}"}


def _in_order(paths: Sequence[Path], names: Sequence[str]) -> list[Path]:
    """Paths in the order of `names`, unknown ones last."""
    found = sorted(map(Path, paths))
    return sorted(found, key=lambda path: names.index(path.stem) if path.stem in names else len(names))


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
            s.input.figures,
            s.params.figure_texts,
            s.input.tables,
            s.input.curves,
            s.input.manifest,
            s.output.html,
            results={name: s.input[name] for name in ("gap", "decline", "regression", "checkpoints", "tests")},
            browser={name: s.input[name] for name in ("questions", "utterances", "answers", "scores")},
            **{name: s.params[name] for name in ("models", "trained", "subsets", "samples", "display")},
        ),
    )
