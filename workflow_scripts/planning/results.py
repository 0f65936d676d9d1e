"""What a study ends in: figures, tables, and the files that the report and its manifest are made of."""

from collections.abc import Callable
from typing import Any

from workflow_scripts.figures.table import FIGURES
from workflow_scripts.planning.names import StudyNames
from workflow_scripts.report.table import TABLES
from workflow_scripts.settings import PUNKT

JUDGEMENTS = ("results/tables/claims.csv", "results/tables/sensitivity.csv")
"""Tables of verdicts, shown on the page beside those of `TABLES`."""


class StudyResults(StudyNames):
    """Files of the stages figures and report, and what they read."""

    def published_scores(self) -> list[str]:
        """Tables of the opt-in published scorers that the config asks for."""
        chosen = {"official": self.config.scoring.official, "panda": self.config.scoring.panda}
        return [f"results/evaluation/{name}.csv" for name, asked in chosen.items() if asked is not None]

    def figure_inputs(self, wildcards: Any) -> dict[str, str | list[str]]:
        """Inputs of a figure by name: paths, or what the method of this class named by the table returns."""
        sources = FIGURES[wildcards.figure].inputs
        return {name: source if "/" in source else getattr(self, source)() for name, source in sources.items()}

    def figure_display(self, wildcards: Any) -> dict[str, Any] | None:
        """Settings of the display that a figure reads."""
        if (needed := FIGURES[wildcards.figure].display) == "none":
            return None
        display = self.config.display.model_dump(mode="json")
        if needed == "all":
            # All models are named, so that each keeps its colour where others are missing.
            unnamed = {model: {"label": model, "color": None} for model in self.config.models}
            display["models"] = unnamed | display["models"]
        return display

    def figure_files(self, extension: str) -> list[str]:
        """Every figure with one extension."""
        return [f"results/figures/{name}.{extension}" for name in FIGURES]

    def tables(self, report: Callable[..., Any]) -> dict[str, Any]:
        """Named outputs of the table step: `<name>_csv` and `<name>_tex`."""
        outputs: dict[str, Any] = {f"{name}_tex": f"results/tables/{name}.tex" for name in TABLES}
        for name, table in TABLES.items():
            shown = {"caption": "../report/tables.rst", "category": "Tables", "labels": {"table": table.label}}
            outputs[f"{name}_csv"] = report(f"results/tables/{name}.csv", **shown)
        return outputs

    def subset_settings(self, wildcards: Any) -> dict[str, Any]:
        """Settings that decide the questions of a subset."""
        return self.config.benchmark.subsets[wildcards.subset].model_dump(mode="json", exclude={"note"})

    def subset_notes(self) -> dict[str, str]:
        """How each subset differs from the paper's, by key; "" if it does not."""
        return {name: self.config.benchmark.subsets[name].note for name in self.subsets}

    def table_files(self, extension: str) -> list[str]:
        """Every table with one extension."""
        return [f"results/tables/{name}.{extension}" for name in TABLES]

    def result_files(self) -> list[str]:
        """The files whose numbers a paper would quote."""
        return [
            "results/speech/recordings.csv",
            "results/speech/disagreements.csv",
            "results/evaluation/gap.csv",
            "results/evaluation/skills.csv",
            *(
                f"results/audit/{name}/{table}.csv"
                for name in sorted(self.config.audits)
                for table in ("gap", "conclusions")
            ),
            *(["results/evaluation/conditions.csv"] if self.conditions() else []),
            *(["results/evaluation/floors.csv"] if self.config.evaluation.floors else []),
            "results/evaluation/decline.csv",
            "results/evaluation/cascade.csv",
            "results/evaluation/twins.csv",
            *self.published_scores(),
            "results/correlation/layers.csv",
            "results/correlation/checkpoints.csv",
            "results/correlation/points.csv",
            "results/correlation/regression.csv",
            "results/correlation/comparisons.csv",
            "results/correlation/responses.csv",
            "results/correlation/response_positions.csv",
            "results/correlation/lens.csv",
            "results/correlation/answers_regression.csv",
            "results/correlation/cka.csv",
            *JUDGEMENTS,
            "results/intervention/tests.csv",
            "results/intervention/cases.csv",
            *self.training_logs(),
            *self.table_files("csv"),
        ]

    def training_logs(self) -> list[str]:
        """The training log of every model that is trained here, in the order of `trained_models`."""
        return [f"results/training/{model}/log.csv" for model in self.trained_models]

    def checkpoint_indices(self) -> list[str]:
        """checkpoints.json of every model that has one."""
        models = self.config.models
        return [models[name].loaded_from(name) for name in self.models if models[name].checkpoints_folder(name)]

    def used_assets(self) -> list[str]:
        """Records of every asset that a file of the study is made from."""
        names = {self.config.speech.asr.asset, PUNKT}
        names |= {subset.asset for subset in self.config.benchmark.subsets.values()}
        if self.trained_models:
            names |= {source.asset for source in self.config.training.instructions.sources}
        for name, model in self.config.models.items():
            names |= set(model.asset_fields(name).values())
        return [f"resources/{name}/asset.json" for name in sorted(names)]

    def example_alignment(self) -> str:
        """The alignment file whose token matrices are drawn: first model, last checkpoint, intervention subset."""
        model, subset = self.models[0], self.config.intervention.subset
        folder = f"results/alignment/{model}/{self.checkpoints(model)[-1]}"
        return f"{folder}/{subset}/{self.shards(subset)[0]}.h5"

    def last_answers(self) -> list[str]:
        """Answers of every model's last checkpoint, all subsets, forms and shards."""
        return [
            f"results/evaluation/{model}/{self.checkpoints(model)[-1]}/{subset}/{form}.{shard}.answers.jsonl"
            for model in self.models
            for subset in self.subsets
            for form in self.forms(model)
            for shard in self.shards(subset)
        ]

    def last_scores(self) -> list[str]:
        """Scores of every model's last checkpoint."""
        return [
            f"results/evaluation/{model}/{self.checkpoints(model)[-1]}/{subset}/{form}.scores.json"
            for model in self.models
            for subset in self.subsets
            for form in self.forms(model)
        ]
