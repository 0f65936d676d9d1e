"""The DAG's bookkeeping: which checkpoints, shards and files a config asks for.

Used while the Snakefile is parsed, so it imports nothing heavy and reads no results. Rules bind the functions of `Plan`
as input functions; steps never see it.
"""

import ast
import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.checkpoints import checkpoint_name
from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.settings import INSTRUCTIONS, PUNKT, Config
from workflow_scripts.settings.models import FINAL, CheckpointsModel, PublicModel, UnitsModel, weights_asset
from workflow_scripts.settings.training import TrainedModel

PACKAGE = "workflow_scripts"
NOT_NUMBERS = ("artifacts", "settings", "plan")
"""Packages whose edits do not change numbers: formats carry their own version, settings arrive as params."""
BASE = "base"
FIGURES = {
    "decline": ("Gap", "Decline by reference (paper: Figure 2)"),
    "learning": ("Gap", "Learning curves"),
    "layers": ("Similarity", "By layer (paper: Figure 4)"),
    "layers_controlled": ("Similarity", "By layer, centred and length-free"),
    "cka": ("Similarity", "CKA, layer by layer"),
    "lens": ("Similarity", "Logit lens by depth"),
    "response_kl": ("Similarity", "KL by response position"),
    "similarity_gap": ("Similarity", "Against the gap (paper: Figure 5)"),
    "token_matrix": ("Alignment", "Token matrices (paper: Figure 6)"),
    "aps_gap": ("Alignment", "APS against the gap (paper: Figure 7)"),
    "monotonicity": ("Alignment", "Monotonicity and consistency (paper: Figure 8)"),
    "interventions": ("Interventions", "Edits beside their controls"),
    "edited_layers": ("Interventions", "By layer edited"),
    "partial_residuals": ("Gap", "Beyond training time"),
    "predictors": ("Gap", "Predictors side by side"),
}
TABLES = {
    "table1_interventions": "Interventions (paper: Table 1)",
    "interventions_controls": "Interventions beside their controls",
    "table4_cases": "Cases (paper: Tables 4 to 7)",
    "table2_gap": "Scores and gap (paper: Table 2)",
    "table3_pipeline": "Pipeline of ASR and backbone (paper: Table 3)",
    "table9_alignment": "Alignment statistics (paper: Table 9)",
    "alignment_in_time": "Alignment against word times (ours)",
    "references": "References of the decline (ours)",
    "multiple_choice": "Multiple choice in full (ours)",
    "cascade": "Agreement with cascades (ours)",
}
JUDGEMENTS = ("results/tables/claims.csv", "results/tables/sensitivity.csv")
"""Tables of verdicts, shown on the page beside those of `TABLES`."""


class Plan:
    """Names and paths of a study.

    Args:
        config: the validated config.
        root: folder that holds the Snakefile.
    """

    def __init__(self, config: Config, root: Path):
        self.config = config
        self.root = Path(root)

    @property
    def gpus_per_job(self) -> int:
        """GPUs that a job with a model books on this machine: without one, models share the cores freely.

        The SLURM profile sets its own numbers, as a login node need not have the GPUs of its cluster.
        """
        return int(shutil.which("nvidia-smi") is not None)

    # --- names -------------------------------------------------------------------------------------------------

    @property
    def subsets(self) -> list[str]:
        """Benchmark subsets."""
        return sorted(self.config.benchmark.subsets)

    @property
    def overall_subsets(self) -> list[str]:
        """Subsets that count in Overall."""
        return [name for name in self.subsets if self.config.benchmark.subsets[name].overall]

    @property
    def knowledge_subsets(self) -> list[str]:
        """Subsets of the knowledge-only mean."""
        return [name for name in self.subsets if self.config.benchmark.subsets[name].knowledge]

    @property
    def analysed_subsets(self) -> list[str]:
        """Subsets whose hidden states are compared."""
        return sorted(self.config.activations.subsets or self.overall_subsets)

    @property
    def models(self) -> list[str]:
        """Keys of `models`."""
        return sorted(self.config.models)

    @property
    def trained_models(self) -> list[str]:
        """Keys of the models that this workflow trains."""
        return sorted(self.config.trained_models())

    @property
    def spoken_subsets(self) -> list[str]:
        """Everything that the voice reads: the benchmark, and the training prompts if there is training."""
        return [*self.subsets, *([INSTRUCTIONS] if self.trained_models else [])]

    @property
    def backbones(self) -> list[str]:
        """Assets used as backbone."""
        return sorted({model.backbone for model in self.config.models.values() if model.backbone is not None})

    def n_questions(self, subset: str) -> int:
        """Questions drawn from a subset."""
        return self.config.benchmark.subsets[subset].questions or self.config.benchmark.questions_per_subset

    def shards(self, subset: str) -> list[str]:
        """Shards of a subset."""
        return shard_names(self.n_questions(subset), self.config.benchmark.questions_per_shard)

    def checkpoints(self, model: str) -> list[str]:
        """Checkpoints of a model, in order of training; `final` for one that is not trained here."""
        entry = self.config.models[model]
        if isinstance(entry, PublicModel):
            return [FINAL]
        steps = entry.steps if isinstance(entry, CheckpointsModel) else self._recipe(entry).checkpoint_steps
        return [checkpoint_name(step) for step in steps]

    def _recipe(self, entry: TrainedModel) -> Any:
        return self.config.training.recipes[entry.recipe]

    def model_facts(self) -> dict[str, dict[str, str]]:
        """Strategy, backbone and warm-up of each model: what regressions group by."""
        facts = {}
        for name in self.models:
            entry = self.config.models[name]
            if isinstance(entry, PublicModel):
                facts[name] = {"strategy": "public", "backbone": entry.backbone or "unknown", "warmup": "unknown"}
                continue
            warmup = entry.warmup if isinstance(entry, CheckpointsModel) else self._recipe(entry).warmup
            facts[name] = {"strategy": entry.strategy, "backbone": entry.backbone, "warmup": warmup}
        return facts

    def model_backbones(self) -> dict[str, str]:
        """The untuned backbone of each model that has a known one."""
        known = {name: self.config.models[name].backbone for name in self.models}
        return {name: backbone for name, backbone in known.items() if backbone is not None}

    def public(self, wildcards: Any) -> dict[str, Any] | None:
        """Name and settings of the job's model if it is not trained here, for the job's params."""
        entry = self.config.models[wildcards.model]
        if not isinstance(entry, PublicModel):
            return None
        return {"name": wildcards.model, **entry.model_dump(mode="json")}

    def memory_mb(self, wildcards: Any) -> int:
        """Main memory that a job with the wildcards' model books."""
        entry = self.config.models[wildcards.model]
        return int(1000 * entry.memory_gb) if isinstance(entry, PublicModel) else 3000

    def public_checks(self, wildcards: Any) -> list[dict[str, Any]]:
        """Settings of the public models whose weights are the job's asset, with the longest clip they will hear."""
        return [
            {"name": name, "speech_seconds": self.config.speech.max_seconds, **entry.model_dump(mode="json")}
            for name, entry in sorted(self.config.public_models().items())
            if weights_asset(name, entry) == wildcards.asset
        ]

    def identity(self) -> dict[str, Any]:
        """All settings that decide numbers, for the manifest: the whole config without display."""
        return self.config.model_dump(mode="json", exclude={"display"})

    # --- files -------------------------------------------------------------------------------------------------

    def asset(self, key: str) -> Callable[[Any], str | list[str]]:
        """Input function: the record of the asset that `key` of the model's entry names; none for a public model."""

        def record(wildcards: Any) -> str | list[str]:
            entry = self.config.models[wildcards.model]
            return [] if isinstance(entry, PublicModel) else f"resources/{getattr(entry, key)}/asset.json"

        return record

    def subset_asset(self, wildcards: Any) -> str:
        """The raw data of a subset."""
        return f"resources/{self.config.benchmark.subsets[wildcards.subset].asset}/asset.json"

    def instruction_assets(self, _: Any = None) -> list[str]:
        """The raw data of the training prompts."""
        names = {source.asset for source in self.config.training.instructions.sources}
        return [f"resources/{name}/asset.json" for name in sorted(names)]

    def questions(self, subset: str) -> str:
        """Questions of a subset."""
        return f"results/benchmark/{subset}/questions.jsonl"

    def manifest(self, subset: str) -> str:
        """Utterances of a subset in the study's voice."""
        return f"results/speech/{self.config.speech.voice}/{subset}/manifest.jsonl"

    def features(self, encoder: str, subset: str) -> str:
        """Encoder output of a subset."""
        return f"results/speech/{self.config.speech.voice}/{subset}/{encoder}.features.h5"

    def model_questions(self, wildcards: Any) -> str:
        """Questions for the job's subset."""
        return self.questions(wildcards.subset)

    def model_manifest(self, wildcards: Any) -> str:
        """Utterances for the job's subset."""
        return self.manifest(wildcards.subset)

    def word_times(self, wildcards: Any) -> str:
        """When each word of the job's subset is spoken."""
        return f"results/speech/{self.config.speech.voice}/{wildcards.subset}/word_times.jsonl"

    def model_features(self, wildcards: Any) -> str | list[str]:
        """Encoder output that the job's model reads; none for a public model, which hears the audio itself."""
        entry = self.config.models[wildcards.model]
        return [] if isinstance(entry, PublicModel) else self.features(entry.encoder, wildcards.subset)

    def training_features(self, wildcards: Any) -> str:
        """Encoder output of the training prompts, for a model or a warm-up."""
        encoder = getattr(wildcards, "encoder", None) or self.config.models[wildcards.model].encoder
        return self.features(encoder, INSTRUCTIONS)

    def model_answers(self, wildcards: Any) -> str:
        """The training answers of the model's backbone."""
        return f"results/training/answers/{self.config.models[wildcards.model].backbone}.jsonl"

    def model_warmup(self, wildcards: Any) -> list[str]:
        """The warmed-up adapter of a model, if its recipe has a warm-up."""
        entry = self.config.models[wildcards.model]
        if self.config.training.recipes[entry.recipe].warmup == "none":
            return []
        folder = f"results/training/warmup/{entry.backbone}/{entry.encoder}/{entry.recipe}/{entry.seed}"
        return [f"{folder}/adapter.safetensors"]

    def checkpoint_index(self, wildcards: Any) -> str:
        """What a job loads its model's weights by: checkpoints.json, or the asset of a public model."""
        entry = self.config.models[wildcards.model]
        if isinstance(entry, PublicModel):
            return f"resources/{weights_asset(wildcards.model, entry)}/asset.json"
        if isinstance(entry, CheckpointsModel):
            return f"{entry.folder.rstrip('/')}/checkpoints.json"
        return f"results/training/{wildcards.model}/checkpoints.json"

    def quantizer(self, wildcards: Any) -> str | list[str]:
        """The asset that turns audio into units, for models that need one."""
        entry = self.config.models[wildcards.model]
        asset = entry.quantizer_asset if isinstance(entry, UnitsModel) else None
        return [] if asset is None else f"resources/{asset}/asset.json"

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """The recipe of a model, as plain settings."""
        name = self.config.models[wildcards.model].recipe
        return self.config.training.recipes[name].model_dump(mode="json")

    def forms(self, model: str) -> list[str]:
        """Forms in which a model is asked: a plain backbone cannot hear."""
        return ["text", "asr"] if model in self.backbones else ["text", "speech", "asr"]

    def job_answers(self, wildcards: Any) -> list[str]:
        """All shards and forms of the answers of one model, checkpoint and subset."""
        folder = f"results/evaluation/{wildcards.model}/{wildcards.checkpoint}/{wildcards.subset}"
        forms, shards = self.forms(wildcards.model), self.shards(wildcards.subset)
        return [f"{folder}/{form}.{shard}.answers.jsonl" for form in forms for shard in shards]

    def all_scores(self, _: Any = None) -> list[str]:
        """Every score file of the study."""
        pairs = [(model, checkpoint) for model in self.models for checkpoint in self.checkpoints(model)]
        pairs += [(backbone, BASE) for backbone in self.backbones]
        return [
            f"results/evaluation/{model}/{checkpoint}/{subset}/{form}.scores.json"
            for model, checkpoint in pairs
            for subset in self.subsets
            for form in self.forms(model)
        ]

    def all_answers(self, _: Any = None) -> list[str]:
        """Every answer file of the study."""
        pairs = [(model, checkpoint) for model in self.models for checkpoint in self.checkpoints(model)]
        pairs += [(backbone, BASE) for backbone in self.backbones]
        return [
            f"results/evaluation/{model}/{checkpoint}/{subset}/{form}.{shard}.answers.jsonl"
            for model, checkpoint in pairs
            for subset in self.subsets
            for form in self.forms(model)
            for shard in self.shards(subset)
        ]

    def official_files(self) -> list[str]:
        """The evaluators of the VoiceBench checkout, if there is one: a change of them reruns the comparison."""
        checkout = self.config.scoring.official
        return [] if checkout is None else [f"{checkout}/src/evaluator/{name}.py" for name in ("mcq", "harm", "ifeval")]

    def published_scores(self) -> list[str]:
        """Tables of the opt-in published scorers that the config asks for."""
        chosen = {"official": self.config.scoring.official, "panda": self.config.scoring.panda}
        return [f"results/evaluation/{name}.csv" for name, asked in chosen.items() if asked is not None]

    def all_measured(self, stage: str) -> list[str]:
        """Every similarity or alignment file of the study."""
        return [
            f"results/{stage}/{model}/{checkpoint}/{subset}/{shard}.h5"
            for model in self.models
            for checkpoint in self.checkpoints(model)
            for subset in self.analysed_subsets
            for shard in self.shards(subset)
        ]

    def measured_scores(self) -> list[str]:
        """Text and speech scores of every checkpoint and subset whose states are compared."""
        return [
            f"results/evaluation/{model}/{checkpoint}/{subset}/{form}.scores.json"
            for model in self.models
            for checkpoint in self.checkpoints(model)
            for subset in self.analysed_subsets
            for form in ("text", "speech")
        ]

    def analysed_features(self, wildcards: Any) -> list[str]:
        """Encoder output that the job's model reads, of every analysed subset."""
        encoder = self.config.models[wildcards.model].encoder
        return [self.features(encoder, subset) for subset in self.analysed_subsets]

    def is_end_of_run(self, wildcards: Any) -> bool:
        """Whether the job's checkpoint is the first or the last of its run."""
        checkpoints = self.checkpoints(wildcards.model)
        return wildcards.checkpoint in (checkpoints[0], checkpoints[-1])

    def first_answers(self, form: str) -> list[str]:
        """The job's answers in one form to the first shard of every analysed subset, as a pattern."""
        folder = "results/evaluation/{model}/{checkpoint}"
        return [f"{folder}/{subset}/{form}.{self.shards(subset)[0]}.answers.jsonl" for subset in self.analysed_subsets]

    def all_responses(self) -> list[str]:
        """Divergences of every checkpoint of the models trained here: others have no backbone to be compared with."""
        return [
            f"results/activations/{model}/{checkpoint}/responses.h5"
            for model in self.trained_models
            for checkpoint in self.checkpoints(model)
        ]

    def all_edits(self, _: Any = None) -> list[str]:
        """Every file of edited answers: the last checkpoint of each model that can be edited."""
        subset = self.config.intervention.subset
        return [
            f"results/intervention/{model}/{self.checkpoints(model)[-1]}/{subset}/{shard}.answers.jsonl"
            for model in self.models
            if getattr(self.config.models[model], "interventions", True)
            for shard in self.shards(subset)
        ]

    # --- figures and report ------------------------------------------------------------------------------------

    def figure(self, name: str, report: Callable[..., Any]) -> dict[str, Any]:
        """Named outputs of a figure; the SVG appears in Snakemake's own report."""
        files = {extension: f"results/figures/{name}.{extension}" for extension in ("pdf", "png")}
        category, subcategory = FIGURES[name]
        caption = f"../report/{name}.rst"
        svg = report(f"results/figures/{name}.svg", caption=caption, category=category, labels={"figure": subcategory})
        return files | {"svg": svg}

    def figure_files(self, extension: str) -> list[str]:
        """Every figure with one extension."""
        return [f"results/figures/{name}.{extension}" for name in FIGURES]

    def tables(self, report: Callable[..., Any]) -> dict[str, Any]:
        """Named outputs of the table step: `<name>_csv` and `<name>_tex`."""
        outputs: dict[str, Any] = {f"{name}_tex": f"results/tables/{name}.tex" for name in TABLES}
        for name, label in TABLES.items():
            csv = f"results/tables/{name}.csv"
            outputs[f"{name}_csv"] = report(
                csv, caption="../report/tables.rst", category="Tables", labels={"table": label}
            )
        return outputs

    def table_files(self, extension: str) -> list[str]:
        """Every table with one extension."""
        return [f"results/tables/{name}.{extension}" for name in TABLES]

    def result_files(self) -> list[str]:
        """The files whose numbers a paper would quote."""
        return [
            "results/evaluation/gap.csv",
            "results/evaluation/decline.csv",
            "results/evaluation/cascade.csv",
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
            "results/correlation/chance.csv",
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
        folders = {
            name: entry.folder.rstrip("/") if isinstance(entry, CheckpointsModel) else f"results/training/{name}"
            for name, entry in self.config.models.items()
            if not isinstance(entry, PublicModel)
        }
        return [f"{folders[name]}/checkpoints.json" for name in sorted(folders)]

    def used_assets(self) -> list[str]:
        """Records of every asset that a file of the study is made from."""
        names = {self.config.speech.asr.asset, PUNKT}
        names |= {subset.asset for subset in self.config.benchmark.subsets.values()}
        if self.trained_models:
            names |= {source.asset for source in self.config.training.instructions.sources}
        for name, model in self.config.models.items():
            if isinstance(model, PublicModel):
                names |= {weights_asset(name, model), model.backbone, getattr(model, "quantizer_asset", None)}
            else:
                names |= {model.backbone, model.encoder}
        names.discard(None)
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

    # --- code --------------------------------------------------------------------------------------------------

    def code(self, script: str) -> list[str]:
        """A step's source and every module of ours that it imports and that decides numbers.

        Declared as an input, these are compared by content: an edit reruns what it changes, a fresh checkout does not.
        """
        return sorted(str(path.relative_to(self.root)) for path in _closure(self.root, self.root / PACKAGE / script))


@functools.cache
def _closure(root: Path, path: Path) -> frozenset[Path]:
    found, waiting = set(), [path]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting.extend(_imports(root, source))
    return frozenset(found)


@functools.cache
def _imports(root: Path, path: Path) -> tuple[Path, ...]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    files = []
    for module in modules:
        parts = module.split(".")
        if parts[0] != PACKAGE or len(parts) < 2 or parts[1] in NOT_NUMBERS:
            continue
        target = root.joinpath(*parts)
        for candidate in (target.with_suffix(".py"), target / "__init__.py"):
            if candidate.is_file():
                files.append(candidate)
    return tuple(files)
