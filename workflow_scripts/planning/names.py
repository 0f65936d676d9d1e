"""What a study consists of, by name: subsets, shards, models, checkpoints, forms."""

from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.shards import shard_names
from workflow_scripts.planning.code import Code
from workflow_scripts.planning.record import CodeRecord
from workflow_scripts.settings import INSTRUCTIONS, Config


class StudyNames:
    """Names of a study.

    Args:
        config: the validated config.
        root: folder that holds the Snakefile.
        record: folder of the study that remembers code; None for none.
    """

    def __init__(self, config: Config, root: Path, record: Path | None = None):
        self.config = config
        self.root = Path(root)
        self.sources = Code(self.root, self.root / ".snakemake" / "definitions.json")
        self.record = CodeRecord(record)

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
        return sorted(
            {model.language_model for model in self.config.models.values() if model.language_model is not None}
        )

    def voice(self, subset: str) -> str:
        """The voice that speaks a subset, or the training prompts."""
        entry = self.config.benchmark.subsets.get(subset)
        return (entry.voice if entry is not None else None) or self.config.speech.voice

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

    def n_questions(self, subset: str) -> int:
        """Questions drawn from a subset."""
        return self.config.benchmark.subsets[subset].questions or self.config.benchmark.questions_per_subset

    def shards(self, subset: str) -> list[str]:
        """Shards of a subset."""
        return shard_names(self.n_questions(subset), self.config.benchmark.questions_per_shard)

    def checkpoints(self, model: str) -> list[str]:
        """Checkpoints of a model, in order of training; `final` for one that is not trained here."""
        return self.config.models[model].checkpoints(self.config.training.recipes)

    def forms(self, model: str) -> list[str]:
        """Forms in which a model is asked: a plain backbone cannot hear."""
        return ["text", "asr"] if model in self.backbones else ["text", "speech", "asr"]

    @property
    def frozen_models(self) -> list[str]:
        """Models of which only the adapter is trained: in writing they are their backbone."""
        return [name for name in self.models if self.config.models[name].frozen]

    def model_facts(self) -> dict[str, dict[str, str]]:
        """Strategy, backbone and warm-up of each model: what regressions group by."""
        return {name: self.config.models[name].grouping(self.config.training.recipes) for name in self.models}

    def model_backbones(self) -> dict[str, str]:
        """The untuned backbone of each model that has a known one."""
        known = {name: self.config.models[name].language_model for name in self.models}
        return {name: backbone for name, backbone in known.items() if backbone is not None}

    def twins(self) -> dict[str, str]:
        """Each model trained with an alignment loss, and the first whose entry differs from it in nothing else."""
        entries = {name: self.config.models[name] for name in self.trained_models}
        alike = {
            name: [other for other, own in entries.items() if own == entry.model_copy(update={"distill": None})]
            for name, entry in entries.items()
            if entry.distill is not None
        }
        return {name: others[0] for name, others in alike.items() if others}

    def identity(self) -> dict[str, Any]:
        """All settings that decide numbers, for the manifest: the whole config without display."""
        return self.config.model_dump(mode="json", exclude={"display"})
