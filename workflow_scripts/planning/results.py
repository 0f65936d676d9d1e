"""What a study ends in: figures, tables, and the files that the report and its manifest are made of."""

from collections.abc import Callable
from typing import Any

from workflow_scripts.planning.study import Study
from workflow_scripts.report.table import TABLES
from workflow_scripts.settings import PUNKT

JUDGEMENTS = ("results/tables/claims.csv", "results/tables/sensitivity.csv")
"""Tables of verdicts, shown on the page beside those of `TABLES`."""


def table_outputs(report: Callable[..., Any]) -> dict[str, Any]:
    """Named outputs of the table step: `<name>_csv` and `<name>_tex`."""
    outputs: dict[str, Any] = {f"{name}_tex": f"results/tables/{name}.tex" for name in TABLES}
    for name, table in TABLES.items():
        shown = {"caption": "../report/tables.rst", "category": "Tables", "labels": {"table": table.label}}
        outputs[f"{name}_csv"] = report(f"results/tables/{name}.csv", **shown)
    return outputs


def table_files(extension: str) -> list[str]:
    """Every table with one extension."""
    return [f"results/tables/{name}.{extension}" for name in TABLES]


def published_scores(study: Study) -> list[str]:
    """Tables of the opt-in published scorers that the config asks for."""
    chosen = {"official": study.config.scoring.official, "panda": study.config.scoring.panda}
    return [f"results/evaluation/{name}.csv" for name, asked in chosen.items() if asked is not None]


def result_files(study: Study) -> list[str]:
    """The files whose numbers a paper would quote."""
    return [
        "results/speech/recordings.csv",
        "results/speech/disagreements.csv",
        "results/evaluation/gap.csv",
        "results/evaluation/skills.csv",
        "results/evaluation/tags.csv",
        *(
            f"results/audit/{name}/{table}.csv"
            for name in sorted(study.config.audits)
            for table in ("gap", "conclusions")
        ),
        *(["results/evaluation/conditions.csv"] if study.conditions() else []),
        *(["results/evaluation/floors.csv"] if study.floor_subsets else []),
        "results/evaluation/decline.csv",
        "results/evaluation/cascade.csv",
        "results/evaluation/twins.csv",
        *published_scores(study),
        "results/correlation/layers.csv",
        "results/correlation/checkpoints.csv",
        "results/correlation/points.csv",
        "results/correlation/regression.csv",
        "results/correlation/comparisons.csv",
        "results/correlation/responses.csv",
        "results/correlation/response_positions.csv",
        "results/correlation/lens.csv",
        "results/correlation/word_reading.csv",
        "results/correlation/answers_regression.csv",
        "results/correlation/cka.csv",
        *JUDGEMENTS,
        "results/intervention/tests.csv",
        "results/intervention/cases.csv",
        *study.patching_tables(),
        *study.attention_tables(),
        *study.joined_probes(),
        *study.training_logs(),
        *table_files("csv"),
    ]


def checkpoint_indices(study: Study) -> list[str]:
    """checkpoints.json of every model that has one."""
    models = study.config.models
    return [models[name].loaded_from(name) for name in study.models if models[name].checkpoints_folder(name)]


def used_assets(study: Study) -> list[str]:
    """Records of every asset that a file of the study is made from."""
    names = {study.config.speech.asr.asset, PUNKT}
    names |= {subset.asset for subset in study.config.benchmark.subsets.values()}
    if study.trained_models:
        names |= {source.asset for source in study.config.training.instructions.sources}
    for name, model in study.config.models.items():
        names |= set(model.asset_fields(name).values())
    return [f"resources/{name}/asset.json" for name in sorted(names)]
