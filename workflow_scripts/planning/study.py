"""What a study consists of, by name: subsets, shards, models, checkpoints, forms; and its files by a pattern."""

from collections.abc import Iterable
from typing import Any

from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.settings import INSTRUCTIONS, Config
from workflow_scripts.settings.intervention import RANDOM_SUBSPACE
from workflow_scripts.settings.speech import recordings_of

BASE = "base"
"""The checkpoint of an untuned language model."""


class Study:
    """A validated config, asked for names. Lists are sorted by name, checkpoints by training."""

    def __init__(self, config: Config):
        self.config = config

    def files(
        self,
        pattern: str,
        *,
        models: Iterable[str] | None = None,
        last: bool = False,
        base: bool = False,
        subsets: Iterable[str] | None = None,
        forms: Iterable[str] | None = None,
    ) -> list[str]:
        """The files of a pattern with any of {model}, {checkpoint}, {subset}, {form} and {shard}.

        Args:
            models, subsets, forms: all by default; `forms` those in which the model is asked.
            last: of the last checkpoint of each model only.
            base: of the untuned language models too.
        """
        chosen = list(self.models if models is None else models)
        runs = [(model, name) for model in chosen for name in self.checkpoints(model)[-1 if last else 0 :]]
        runs += [(backbone, BASE) for backbone in self.backbones if base]
        found = {
            pattern.format(model=model, checkpoint=checkpoint, subset=subset, form=form, shard=shard): None
            for model, checkpoint in runs
            for subset in (self.subsets if subsets is None else subsets)
            for form in (self.forms(model) if forms is None else forms)
            for shard in self.shards(subset)
        }
        return list(found)

    @property
    def subsets(self) -> list[str]:
        """Benchmark subsets that are spoken and answered."""
        return sorted(self.config.answered_subsets())

    @property
    def drawn_subsets(self) -> list[str]:
        """All benchmark subsets: training prompts keep away from the questions of every one of them."""
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
    def floor_subsets(self) -> list[str]:
        """Subsets that are also asked unheard."""
        subsets = self.config.benchmark.subsets
        return [name for name in self.subsets if self.config.evaluation.floors and subsets[name].floors]

    @property
    def spoken_subsets(self) -> list[str]:
        """Everything that the voice reads: the benchmark, and the training prompts if there is training."""
        return [*self.subsets, *([INSTRUCTIONS] if self.trained_models else [])]

    def voice(self, subset: str) -> str:
        """The voice that speaks a subset, or the training prompts."""
        entry, speech = self.config.benchmark.subsets.get(subset), self.config.speech
        return (speech.training_voice if entry is None else entry.voice) or speech.voice

    def conditions(self) -> dict[str, list[str]]:
        """Subsets of the same rows in other voices, by the first that counts in Overall, which leads its list."""
        groups: dict[tuple[Any, ...], list[str]] = {}
        for subset in self.subsets:
            entry = self.config.benchmark.subsets[subset]
            # The regions of sd-qa are the same questions in other voices.
            file = "sd-qa" if entry.layout == "voicebench" and "sd-qa/" in entry.file else entry.file
            groups.setdefault((entry.asset, file, entry.layout, entry.split, entry.scorer), []).append(subset)
        found = {}
        for subsets in groups.values():
            order = sorted(subsets, key=lambda name: (not self.config.benchmark.subsets[name].overall, name))
            if len(order) > 1:
                found[order[0]] = order
        return found

    def subset_notes(self) -> dict[str, str]:
        """How each subset differs from the paper's, by key; "" if it does not."""
        return {name: self.config.benchmark.subsets[name].note for name in self.subsets}

    def n_questions(self, subset: str) -> int:
        """Questions drawn from a subset."""
        return self.config.benchmark.subsets[subset].questions or self.config.benchmark.questions_per_subset

    def shards(self, subset: str) -> list[str]:
        """Shards of a subset."""
        return shard_names(self.n_questions(subset), self.config.benchmark.questions_per_shard)

    @property
    def prompt_shards(self) -> list[str]:
        """Shards of the training prompts."""
        prompts = self.config.training.instructions
        return shard_names(prompts.prompts + prompts.heldout, self.config.training.prompts_per_shard)

    @property
    def scorers(self) -> list[str]:
        """The scorers of the study's subsets."""
        return sorted({self.config.benchmark.subsets[subset].scorer for subset in self.subsets})

    @property
    def models(self) -> list[str]:
        """Keys of `models`."""
        return sorted(self.config.models)

    @property
    def opened_models(self) -> list[str]:
        """Models that can be opened; of the others there are only answers."""
        return [name for name in self.models if self.config.models[name].opened]

    @property
    def given_models(self) -> list[str]:
        """Models of which there are only answers."""
        return [name for name in self.models if not self.config.models[name].opened]

    @property
    def trained_models(self) -> list[str]:
        """Keys of the models that this workflow trains."""
        return sorted(self.config.trained_models())

    @property
    def frozen_models(self) -> list[str]:
        """Models of which only the adapter is trained: in writing they are their backbone."""
        return [name for name in self.models if self.config.models[name].frozen]

    @property
    def backbones(self) -> list[str]:
        """Assets used as backbone."""
        return sorted(
            {model.language_model for model in self.config.models.values() if model.language_model is not None}
        )

    def checkpoints(self, model: str) -> list[str]:
        """Checkpoints of a model, in order of training; `final` for one that is not trained here."""
        return self.config.models[model].checkpoints(self.config.training.recipes)

    def is_first_or_last(self, model: str, checkpoint: str) -> bool:
        """Whether a checkpoint is the first or the last of its run."""
        checkpoints = self.checkpoints(model)
        return checkpoint in (checkpoints[0], checkpoints[-1])

    def forms(self, model: str) -> list[str]:
        """Forms in which a model is asked: a plain backbone cannot hear."""
        return ["text", "asr"] if model in self.backbones else self.config.models[model].forms

    @property
    def editable_models(self) -> list[str]:
        """Models whose hidden states can be edited."""
        return [name for name in self.models if self.config.models[name].editable]

    def patches(self, kind: str = "patches") -> list[str]:
        """Files of exchanged states: last checkpoint of each model that can be edited; none if the stage is off.

        `kind`: `attention` or `knockout` for the files of attention, none if the study does not read it.
        """
        settings = self.config.patching
        if settings is None or (kind != "patches" and settings.attention is None):
            return []
        return self.files(
            f"results/patching/{{model}}/{{checkpoint}}/{{subset}}/{{shard}}.{kind}.jsonl",
            models=self.editable_models,
            last=True,
            subsets=[self.config.patched_subset],
        )

    def patching_tables(self, *names: str) -> list[str]:
        """Tables of the patching stage, all or those named; none if it is off."""
        names = names or ("patching", "patching_profiles", "patching_tags")
        return [f"results/patching/{name}.csv" for name in names if self.patches()]

    def attention_tables(self) -> list[str]:
        """Tables of the attention of answers; none if it is not read."""
        return [f"results/patching/{name}.csv" for name in ("attention", "knockout") if self.patches(name)]

    def tests_of_erasures(self) -> list[str]:
        """The table of edits, if the grid erases something beside a random subspace."""
        controls = [edit.control for edit in self.config.intervention.operations.values()]
        return ["results/intervention/tests.csv"] if RANDOM_SUBSPACE in controls else []

    @property
    def probed_subsets(self) -> list[str]:
        """Subsets whose states are probed; none if the stage is off."""
        if self.config.probes is None:
            return []
        return sorted(self.config.probes.subsets or self.analysed_subsets)

    def probed_files(self, pattern: str) -> list[str]:
        """The files of the probed subsets by a pattern with {subset} and {shard}; others stay for the rule."""
        return [
            pattern.replace("{subset}", subset).replace("{shard}", shard)
            for subset in self.probed_subsets
            for shard in self.shards(subset)
        ]

    def probe_tables(self) -> list[str]:
        """Tables of single runs of the probes stage: last checkpoint of each model that can be opened."""
        models = self.opened_models if self.probed_subsets else []
        return [f"results/probes/{model}/{self.checkpoints(model)[-1]}.csv" for model in models]

    def joined_probes(self) -> list[str]:
        """The table of all runs of the probes stage; none if it is off."""
        return ["results/probes/probes.csv"] if self.probe_tables() else []

    def speakers(self) -> dict[str, dict[str, str]]:
        """Who speaks each probed subset, a condition left aside: the `voice`, and `recorded` or synthetic."""
        voices = self.config.speech.voices
        plain = {name: getattr(voice, "base", voice) for name, voice in voices.items()}
        found = {}
        for subset in self.probed_subsets:
            own = plain[self.voice(subset)]
            alike = [name for name, voice in plain.items() if voice == own]
            name = min(alike, key=lambda one: (hasattr(voices[one], "base"), one))
            found[subset] = {"voice": name, "recorded": "synthetic" if recordings_of(own) is None else "recorded"}
        return found

    def model_facts(self) -> dict[str, dict[str, str]]:
        """Strategy, backbone, warm-up and start of each model: what regressions group by."""
        return {name: self.config.models[name].grouping(self.config.training.recipes) for name in self.models}

    def model_backbones(self) -> dict[str, str]:
        """The untuned backbone of each model that has a known one."""
        known = {name: self.config.models[name].language_model for name in self.models}
        return {name: backbone for name, backbone in known.items() if backbone is not None}

    def hub_ids(self) -> dict[str, str]:
        """Each model's repository on the hub, or its key."""
        return {name: getattr(self.config.models[name], "hub", None) or name for name in self.models}

    def twins(self) -> dict[str, str]:
        """Each distilled model, and the first whose entry differs from it in nothing else."""
        entries = {name: self.config.models[name] for name in self.trained_models}
        alike = {
            name: [other for other, own in entries.items() if own == entry.model_copy(update={"distill": None})]
            for name, entry in entries.items()
            if entry.distill is not None
        }
        return {name: others[0] for name, others in alike.items() if others}

    def repeats(self) -> dict[str, str]:
        """Each trained model, and the first whose entry differs from it in nothing but seeds: itself if alone."""

        def without_seeds(name: str) -> tuple[Any, ...]:
            entry = self.config.models[name]
            return entry.model_copy(update={"seed": 0, "start": None}), entry.start and without_seeds(entry.start)

        entries = {name: without_seeds(name) for name in self.trained_models}
        return {name: next(other for other, own in entries.items() if own == entries[name]) for name in entries}

    def identity(self) -> dict[str, Any]:
        """All settings that decide numbers, for the manifest: the whole config without display."""
        return self.config.model_dump(mode="json", exclude={"display"})

    def training_logs(self) -> list[str]:
        """The training log of every model that is trained here, in the order of `trained_models`."""
        return [f"results/training/{model}/log.csv" for model in self.trained_models]

    def example_alignment(self) -> str:
        """The alignment file whose token matrices are drawn: first model, last checkpoint, intervention subset."""
        model, subset = self.opened_models[0], self.config.intervention.subset
        folder = f"results/alignment/{model}/{self.checkpoints(model)[-1]}"
        return f"{folder}/{subset}/{self.shards(subset)[0]}.h5"
