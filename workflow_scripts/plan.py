"""The DAG's bookkeeping: which files a job reads and with which settings it runs.

Used while the Snakefile is parsed, so it imports nothing heavy and reads no results. Rules bind the functions of
`Plan`, and ask `planning.study` for names; steps never see either.
"""

import os
import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.asset_record import files_below
from workflow_scripts.figures.table import FIGURES
from workflow_scripts.planning.books import Books
from workflow_scripts.planning.code import Code, Step
from workflow_scripts.planning.online import DECIDED, features_online
from workflow_scripts.planning.record import CodeRecord
from workflow_scripts.planning.results import result_files
from workflow_scripts.planning.sources import Sources
from workflow_scripts.planning.study import BASE, Study
from workflow_scripts.settings import INSTRUCTIONS, Config
from workflow_scripts.settings.assets import PathSource
from workflow_scripts.settings.speech import recordings_of

SCORES = "results/evaluation/{model}/{checkpoint}/{subset}/{form}.scores.json"
ANSWERS = "results/evaluation/{model}/{checkpoint}/{subset}/{form}.{shard}.answers.jsonl"
SIMILARITY = "results/similarity/{model}/{checkpoint}/{subset}/{shard}.h5"
ALIGNMENT = "results/alignment/{model}/{checkpoint}/{subset}/{shard}.h5"
READINGS = "results/activations/{model}/{checkpoint}/{subset}/{shard}.readings.h5"
"""Files of the study, for `Study.files`."""
FLOORS = ("silence", "other")
"""Forms in which nothing of the question is heard."""
AS_THEY_ARE = {"files", "transformers"}
"""Formats of assets that are not converted."""


class Plan:
    """Input and params functions of the rules.

    Args:
        config: the validated config.
        root: folder that holds the Snakefile.
        record: folder of the study that remembers code; None for none.
        on_gpu: whether jobs run on other machines, with GPUs.
    """

    def __init__(self, config: Config, root: Path, record: Path | None = None, *, on_gpu: bool = False):
        self.config = config
        self.study = Study(config)
        self.books = Books(config, on_gpu=on_gpu)
        self.steps = Code(Sources(root, root / ".snakemake" / "definitions.json"))
        self.record = CodeRecord(record)

    # --- what a job books --------------------------------------------------------------------------------------------

    @property
    def gpus_per_job(self) -> int:
        """GPUs that a job with a model books on this machine: without one, models share the cores freely.

        The SLURM profile sets its own numbers, as a login node need not have the GPUs of its cluster.
        """
        return int(shutil.which("nvidia-smi") is not None)

    def training_gpus(self, wildcards: Any) -> int:
        """GPUs that the training of a model books on this machine: one for each of its processes."""
        return self.gpus_per_job * self.config.models[wildcards.model].processes

    # --- settings of a job -------------------------------------------------------------------------------------------

    def entry(self, wildcards: Any) -> dict[str, Any]:
        """Name, family and settings by which a job opens its model."""
        return self.config.models[wildcards.model].opening(wildcards.model)

    def public_checks(self, wildcards: Any) -> list[dict[str, Any]]:
        """Settings of the public models whose weights are the job's asset, with the longest clip they will hear."""
        return [
            entry.opening(name) | {"speech_seconds": self.config.speech.max_seconds}
            for name, entry in sorted(self.config.public_models().items())
            if entry.weights_asset(name) == wildcards.asset
        ]

    def subset_settings(self, wildcards: Any) -> dict[str, Any]:
        """Settings that decide the questions of a subset."""
        return self.config.benchmark.subsets[wildcards.subset].model_dump(mode="json", exclude={"note"})

    def recipe(self, wildcards: Any) -> dict[str, Any]:
        """The recipe of a model, as plain settings."""
        name = self.config.models[wildcards.model].recipe
        return self.config.training.recipes[name].model_dump(mode="json")

    def named_layers(self, wildcards: Any) -> dict[str, list[int]]:
        """The layers that the config names and that the job's model must have, by key."""
        edits = self.config.intervention.operations
        layers = {
            "activations.layers": self.config.activations.layers or [],
            "intervention.layer": [self.config.intervention.layer],
            **{f"intervention.operations.{name}.layer": edit.layers for name, edit in edits.items() if edit.layers},
        }
        if self.config.patching is not None:
            # A window of L layers is the longest there is.
            layers["patching.windows"] = self.config.patching.windows
            layers["patching.layers"] = self.config.patching.layers or []
        if self.config.probes is not None and self.config.probes.layers:
            layers["probes.layers"] = self.config.probes.layers
        if (distill := self.config.models[wildcards.model].distill) is not None and distill.layers:
            layers[f"models.{wildcards.model}.distill.layers"] = distill.layers
        return layers

    def lora_targets(self, wildcards: Any) -> list[str]:
        """The linear maps that the job's model trains with LoRA."""
        return (
            self.recipe(wildcards)["lora"]["targets"] if self.config.models[wildcards.model].strategy == "lora" else []
        )

    def padded_utterances(self, wildcards: Any) -> int:
        """First utterances of the job's subset whose frames behind the audio are kept."""
        return self.config.activations.reading_questions if wildcards.subset in self.study.analysed_subsets else 0

    # --- assets ------------------------------------------------------------------------------------------------------

    def asset(self, role: str) -> Callable[[Any], str | list[str]]:
        """Input function: the record of the backbone, encoder or quantizer of the job's model, if it has one."""

        def record(wildcards: Any) -> str | list[str]:
            parts = self.config.models[wildcards.model].parts
            return f"resources/{parts[role]}/asset.json" if role in parts else []

        return record

    def asset_settings(self, wildcards: Any) -> dict[str, Any]:
        """Settings that decide the files of an asset."""
        return self.config.assets[wildcards.asset].model_dump(mode="json", exclude={"config"})

    def local_files(self, wildcards: Any) -> list[Path]:
        """Files of an asset that are yours: it is fetched again when you have edited them."""
        sources = self.config.assets[wildcards.asset].sources
        paths = [Path(one.path).expanduser() for one in sources if isinstance(one, PathSource)]
        there = [path for path in paths if path.exists()]
        return [path / name for path in there for name in (files_below(path) if path.is_dir() else [""])]

    def subset_asset(self, wildcards: Any) -> str:
        """The raw data of a subset."""
        return f"resources/{self.config.benchmark.subsets[wildcards.subset].asset}/asset.json"

    def instruction_assets(self, _: Any = None) -> list[str]:
        """The raw data of the training prompts."""
        names = {source.asset for source in self.config.training.instructions.sources}
        return [f"resources/{name}/asset.json" for name in sorted(names)]

    def recordings(self, wildcards: Any) -> str | list[str]:
        """The asset that holds the recordings of the job's voice, if it has one."""
        recorded = recordings_of(self.config.speech.voices[wildcards.voice])
        return [] if recorded is None or recorded.asset is None else f"resources/{recorded.asset}/asset.json"

    def assets(self, *, converted: bool) -> list[str]:
        """The assets that are converted after fetching, or the others."""
        return [name for name in self.config.assets if converted == bool({*self.formats(name)} - AS_THEY_ARE)]

    def subset_assets(self) -> list[str]:
        """The raw data of every subset."""
        names = {self.config.benchmark.subsets[subset].asset for subset in self.study.subsets}
        return [f"resources/{name}/asset.json" for name in sorted(names)]

    def checkpoint_index(self, wildcards: Any) -> str:
        """What a job loads its model's weights by: checkpoints.json, or the record of the weights' asset."""
        return self.config.models[wildcards.model].loaded_from(wildcards.model)

    # --- files of a job ----------------------------------------------------------------------------------------------

    def questions(self, subset: str) -> str:
        """Questions of a subset."""
        return f"results/benchmark/{subset}/questions.jsonl"

    def manifest(self, subset: str) -> str:
        """Utterances of a subset in its voice."""
        return f"results/speech/{self.study.voice(subset)}/{subset}/manifest.jsonl"

    def times(self, subset: str) -> str:
        """When each word of a subset is spoken."""
        return f"results/speech/{self.study.voice(subset)}/{subset}/word_times.jsonl"

    def features(self, encoder: str, subset: str) -> str:
        """Encoder output of a subset."""
        return f"results/speech/{self.study.voice(subset)}/{subset}/{encoder}.features.h5"

    def model_manifest(self, wildcards: Any) -> str:
        """Utterances for the job's subset."""
        return self.manifest(wildcards.subset)

    def word_times(self, wildcards: Any) -> str:
        """When each word of the job's subset is spoken."""
        return self.times(wildcards.subset)

    def lens_times(self, wildcards: Any) -> list[str]:
        """When the words of every analysed subset are spoken, if the job puts its checkpoint under the logit lens."""
        if not self.study.is_first_or_last(wildcards.model, wildcards.checkpoint):
            return []
        return [self.times(subset) for subset in self.study.analysed_subsets]

    def model_features(self, wildcards: Any) -> str | list[str]:
        """Encoder output that the job's model reads; none for a model that takes the audio itself."""
        encoder = self.config.models[wildcards.model].parts.get("encoder")
        return [] if encoder is None else self.features(encoder, wildcards.subset)

    def model_silence(self, wildcards: Any) -> list[str]:
        """Encoder output of silence that the job's model reads; none for a model that takes the audio itself."""
        features = self.model_features(wildcards)
        return [features.replace(".features.h5", ".silence.h5")] if features else []

    def analysed_features(self, wildcards: Any) -> list[str]:
        """Encoder output that the job's model reads, of every analysed subset."""
        encoder = self.config.models[wildcards.model].encoder
        return [self.features(encoder, subset) for subset in self.study.analysed_subsets]

    @cached_property
    def online(self) -> bool:
        """Whether training computes encoder features itself (`planning.online`)."""
        online, _ = features_online(self.config, self.books)
        os.environ[DECIDED] = "online" if online else "cached"
        return online

    @property
    def features_kind(self) -> list[str]:
        """Entry of `training.online.FEATURES` that the study uses."""
        return ["online" if self.online else "cached"]

    def online_params(self) -> dict[str, Any]:
        """What a training step needs to compute features: a param only where it does."""
        return {"window_seconds": self.config.speech.window_seconds} if self.online else {}

    def training_features(self, wildcards: Any) -> str | list[str]:
        """Encoder output of the training prompts, for a model or a warm-up; none if it is computed online."""
        if self.online:
            return []
        encoder = getattr(wildcards, "encoder", None) or self.config.models[wildcards.model].encoder
        return self.features(encoder, INSTRUCTIONS)

    def model_answers(self, wildcards: Any) -> str:
        """The training answers of the model's backbone."""
        return f"results/training/answers/{self.config.models[wildcards.model].backbone}.jsonl"

    def model_warmup(self, wildcards: Any) -> list[str]:
        """The warmed-up adapter of a model, if its recipe has a warm-up; or the run that it starts from."""
        entry = self.config.models[wildcards.model]
        if entry.start is not None:
            return [f"results/training/{entry.start}/checkpoints.json"]
        if self.config.training.recipes[entry.recipe].warmup == "none":
            return []
        folder = f"results/training/warmup/{entry.backbone}/{entry.encoder}/{entry.recipe}/{entry.seed}"
        return [f"{folder}/adapter.safetensors"]

    def objective(self, wildcards: Any) -> str:
        """What a model's training lowers: entry of `training.objectives.OBJECTIVES`."""
        return self.config.training.recipes[self.config.models[wildcards.model].recipe].objective

    def distillation(self, wildcards: Any) -> list[str]:
        """What a model is taught beside: entry of `training.objectives.DISTILLATIONS`, if any."""
        distill = self.config.models[wildcards.model].distill
        return [] if distill is None else [distill.loss]

    def backbone_answers(self, form: str) -> Callable[[Any], str]:
        """Input function: what the job's backbone answered to the same shard in one written form."""

        def answers(wildcards: Any) -> str:
            folder = f"results/evaluation/{self.config.models[wildcards.model].backbone}/{BASE}/{wildcards.subset}"
            return f"{folder}/{form}.{wildcards.shard}.answers.jsonl"

        return answers

    def first_answers(self, form: str) -> list[str]:
        """The job's answers in one form to the first shard of every analysed subset, as a pattern."""
        folder = "results/evaluation/{model}/{checkpoint}"
        return [
            f"{folder}/{subset}/{form}.{self.study.shards(subset)[0]}.answers.jsonl"
            for subset in self.study.analysed_subsets
        ]

    def answers(self, *forms: str) -> Callable[[Any], list[str]]:
        """Input function: all shards of the answers of the job's model, checkpoint and subset; default: all forms."""

        def paths(wildcards: Any) -> list[str]:
            folder = f"results/evaluation/{wildcards.model}/{wildcards.checkpoint}/{wildcards.subset}"
            chosen = forms or self.study.forms(wildcards.model)
            shards = self.study.shards(wildcards.subset)
            return [f"{folder}/{form}.{shard}.answers.jsonl" for form in chosen for shard in shards]

        return paths

    def given_files(self, wildcards: Any) -> list[str]:
        """The files with a model's answers to the job's subset in the job's form."""
        return self.config.models[wildcards.model].paths(wildcards.subset, wildcards.form)

    def audited_files(self, wildcards: Any) -> list[str]:
        """The files of answers that the job audits."""
        return self.config.audits[wildcards.audit].files()

    def official_files(self) -> list[str]:
        """The evaluators of the VoiceBench checkout, if there is one: a change of them reruns the comparison."""
        checkout = self.config.scoring.official
        return (
            []
            if checkout is None
            else [f"{checkout}/src/evaluator/{name}.py" for name in ("mcq", "harm", "ifeval", "bbh")]
        )

    # --- entries of tables of the code, for `code` -------------------------------------------------------------------

    def engine_of_voice(self, wildcards: Any) -> list[str]:
        """The engine of the job's voice, and that of the voice that it alters."""
        voice = self.config.speech.voices[wildcards.voice]
        return [voice.engine, *([voice.base.engine] if hasattr(voice, "base") else [])]

    def family(self, wildcards: Any) -> str:
        """The family of the job's model."""
        return self.config.models[wildcards.model].family

    def formats(self, asset: Any) -> list[str]:
        """The formats that the sources of an asset (or of the job's asset) deliver."""
        settings = self.config.assets[getattr(asset, "asset", asset)]
        return sorted({source.format or settings.format for source in settings.sources})

    def measures(self, *levels: str) -> Callable[[Any], list[str]]:
        """Function of the job: the measures of some levels."""
        return lambda _: self.steps.keys_with("measures.registry", "MEASURES", "level", levels)

    def layout_of_subset(self, wildcards: Any) -> str:
        """The layout of the job's raw file."""
        return self.config.benchmark.subsets[wildcards.subset].layout

    def scorer_of_subset(self, wildcards: Any) -> str:
        """The scorer of the job's subset."""
        return self.config.benchmark.subsets[wildcards.subset].scorer

    def judge(self, wildcards: Any) -> dict[str, Any] | None:
        """The judge of the job's subset, None where none is asked."""
        if self.scorer_of_subset(wildcards) != "judge":
            return None
        return self.config.scoring.judge.model_dump(mode="json")

    def scorer_of_intervention(self) -> str:
        """The scorer of the subset whose speech is edited."""
        return self.config.benchmark.subsets[self.config.intervention.subset].scorer

    def figure_tables(self, wildcards: Any) -> list[str]:
        """Names of the tables that a figure is drawn from."""
        paths = self.figure_inputs(wildcards).values()
        return [Path(path).stem for part in paths for path in ([part] if isinstance(part, str) else part)]

    # --- code --------------------------------------------------------------------------------------------------------

    def code(self, script: str, functions: Any = (), **keys: Any) -> Callable[[Any], str]:
        """Params function: the digest of all code that decides the numbers of `script`, compared by content.

        Args:
            functions: `module:function` that the script is told to call.
            keys: by name of a table of the code, the entries that a job uses; all entries of other tables count.

        Names can be given as a text, several, or a function of the job's wildcards.
        """

        def chosen(names: Any, wildcards: Any) -> list[str]:
            names = names(wildcards) if callable(names) else names
            return [names] if isinstance(names, str) else list(names)

        def step(wildcards: Any) -> Step:
            entries = {table: chosen(names, wildcards) for table, names in keys.items()}
            return self.steps.step(script, entries, chosen(functions, wildcards))

        def digest(wildcards: Any) -> str:
            return self.record.value(step(wildcards), wildcards)

        digest.step = step
        return digest

    # --- figures and tables ------------------------------------------------------------------------------------------

    @cached_property
    def figures(self) -> list[str]:
        """Figures of the study: all but those of tables that it does not make."""
        tables = {*result_files(self.study)}
        return [name for name, figure in FIGURES.items() if figure.is_drawn(tables)]

    def figure_inputs(self, wildcards: Any) -> dict[str, str | list[str]]:
        """Inputs of a figure by name: paths, or what the method of `Study` that the table names returns."""
        sources = FIGURES[wildcards.figure].inputs
        return {name: source if "/" in source else getattr(self.study, source)() for name, source in sources.items()}

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
