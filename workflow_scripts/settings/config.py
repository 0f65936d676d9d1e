"""The whole config as one typed model, with the checks that need more than one section."""

import copy
import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from workflow_scripts.settings.analysis import (
    ActivationSettings,
    EvaluationSettings,
    NullSettings,
    ResponseSettings,
)
from workflow_scripts.settings.assets import AssetSettings
from workflow_scripts.settings.base import NAME_PATTERN, Settings
from workflow_scripts.settings.benchmark import BenchmarkSettings, SubsetSettings
from workflow_scripts.settings.display import DisplaySettings
from workflow_scripts.settings.intervention import InterventionSettings, without_orphans
from workflow_scripts.settings.models import (
    PUBLIC,
    WEIGHTS,
    AnyModel,
    CheckpointsModel,
    PublicModel,
    UnitsModel,
    weights_asset,
)
from workflow_scripts.settings.scoring import ScoringSettings
from workflow_scripts.settings.speech import SpeechSettings
from workflow_scripts.settings.training import TrainedModel, TrainingSettings

INSTRUCTIONS = "instructions"
"""Reserved subset name of the training prompts, which pass through the speech stage like any subset."""

PUNKT = "punkt-english"
"""Asset with the sentence tokenizer that IFEval's checkers need; every study has it."""

NAMED_SECTIONS = (
    "assets",
    "benchmark.subsets",
    "speech.voices",
    "training.recipes",
    "models",
    "intervention.operations",
    "display.models",
    "display.subsets",
)
"""Sections whose entries an overlay removes by setting them to null."""


class ConfigError(ValueError):
    """The config is wrong; the message names each key, its value and the remedy."""


class Config(Settings):
    """A study: what is fetched, asked, spoken, trained, measured and edited."""

    seed: int = Field(ge=0, description="Seed of sampling, nulls and bootstraps.")
    system_prompt: str | None = Field(
        default=None,
        description="One system prompt for every model and form; default: the chat template's own.",
    )
    assets: dict[str, AssetSettings] = Field(description="Everything that is fetched.")
    benchmark: BenchmarkSettings = Field(description="Questions.")
    speech: SpeechSettings = Field(description="Voices and ASR.")
    training: TrainingSettings = Field(description="Training data and recipes.")
    models: dict[str, AnyModel] = Field(min_length=1, description="The models under study.")
    evaluation: EvaluationSettings = Field(default=EvaluationSettings(), description="Answers and scores.")
    scoring: ScoringSettings = Field(default=ScoringSettings(), description="Opt-in published scorers.")
    activations: ActivationSettings = Field(default=ActivationSettings(), description="Hidden states.")
    responses: ResponseSettings = Field(default=ResponseSettings(), description="Divergence between the forms.")
    chance: NullSettings = Field(default=NullSettings(), description="Chance levels.")
    intervention: InterventionSettings = Field(description="Edits of speech tokens.")
    display: DisplaySettings = Field(default=DisplaySettings(), description="Labels and colours.")

    @model_validator(mode="after")
    def _references_exist(self) -> "Config":
        problems = list(self._problems())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for section, names in self._path_names().items():
            for name in names:
                if not re.fullmatch(NAME_PATTERN, name):
                    yield f"{section}.{name}: names become path parts; use a-z, 0-9, '.', '_' and '-'"
        if INSTRUCTIONS in self.benchmark.subsets:
            yield f"benchmark.subsets.{INSTRUCTIONS}: this name is reserved for the training prompts"
        for where, name, known in self._references():
            if name not in known:
                yield f"{where}: {name!r} is not defined{nearest(name, known)}"
        if PUNKT not in self.assets:
            yield f"assets.{PUNKT}: missing; scoring needs this asset, copy its entry from the default assets.yaml"
        for name in self.models.keys() & self.assets.keys():
            yield f"models.{name}: an asset has the same name; rename one of them"
        if (layers := self.activations.layers) is not None:
            for name, edit in self.intervention.operations.items():
                if isinstance(edit.path, int) and edit.path not in layers:
                    yield (
                        f"activations.layers: {layers} lacks {edit.path}, the layer of the path of "
                        f"intervention.operations.{name}; add it"
                    )
        for name, model in self.trained_models().items():
            if model.recipe in self.training.recipes:
                recipe = self.training.recipes[model.recipe]
                if problem := recipe.unfit_batch(model.processes):
                    yield f"models.{name}.processes: {problem} in training.recipes.{model.recipe}"
                if model.strategy not in recipe.learning_rate:
                    yield f"models.{name}: training.recipes.{model.recipe}.learning_rate has no {model.strategy!r}"

    def answered_subsets(self) -> dict[str, SubsetSettings]:
        """Subsets that the models answer."""
        chosen = self.evaluation.subsets
        return {name: one for name, one in self.benchmark.subsets.items() if chosen is None or name in chosen}

    def trained_models(self) -> dict[str, TrainedModel]:
        """Models that this workflow trains."""
        return {name: model for name, model in self.models.items() if isinstance(model, TrainedModel)}

    def public_models(self) -> dict[str, PublicModel]:
        """Models that exist already and have one checkpoint, `final`."""
        return {name: model for name, model in self.models.items() if isinstance(model, PUBLIC)}

    def _path_names(self) -> dict[str, list[str]]:
        return {
            "assets": list(self.assets),
            "models": list(self.models),
            "benchmark.subsets": list(self.benchmark.subsets),
            "speech.voices": list(self.speech.voices),
            "intervention.operations": list(self.intervention.operations),
        }

    def _references(self) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
        yield "speech.voice", self.speech.voice, self.speech.voices
        yield "speech.asr.asset", self.speech.asr.asset, self.assets
        for subset in self.evaluation.subsets or ():
            yield "evaluation.subsets", subset, self.benchmark.subsets
        yield "intervention.subset", self.intervention.subset, self.answered_subsets()
        for name, subset in self.benchmark.subsets.items():
            yield f"benchmark.subsets.{name}.asset", subset.asset, self.assets
        for number, source in enumerate(self.training.instructions.sources):
            yield f"training.instructions.sources[{number}].asset", source.asset, self.assets
        for subset in self.activations.subsets or ():
            yield "activations.subsets", subset, self.answered_subsets()
        for name, model in self.models.items():
            if isinstance(model, TrainedModel | CheckpointsModel):
                yield f"models.{name}.backbone", model.backbone, self.assets
                yield f"models.{name}.encoder", model.encoder, self.assets
            if isinstance(model, TrainedModel):
                yield f"models.{name}.recipe", model.recipe, self.training.recipes
            if isinstance(model, PUBLIC):
                yield f"models.{name}.asset", weights_asset(name, model), self.assets
                if model.backbone is not None:
                    yield f"models.{name}.backbone", model.backbone, self.assets
            if isinstance(model, UnitsModel) and model.quantizer_asset is not None:
                yield f"models.{name}.quantizer", model.quantizer_asset, self.assets
        for name in self.display.models:
            yield "display.models", name, self.models


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str:
    """A hint with the nearest known name, or with all of them when none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(known))}"


def parse_config(values: Mapping[str, Any]) -> Config:
    """Validate a config mapping.

    Raises:
        ConfigError: one line per problem, each with the key's path, the offending value and a remedy; an unknown key
            comes with the nearest valid one.
    """
    try:
        return Config.model_validate(with_model_weights(without_removed(values)))
    except ValidationError as error:
        lines = [_explain(problem) for problem in error.errors()]
        raise ConfigError("config is not valid:\n  " + "\n  ".join(lines)) from None


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config without entries set to null in its named sections: how an overlay removes a default entry."""
    result = copy.deepcopy(dict(values))
    removed_models = {name for name, entry in (result.get("models") or {}).items() if entry is None}
    for place in NAMED_SECTIONS:
        *parents, last = place.split(".")
        node: Any = result
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, dict) and isinstance(node.get(last), dict):
            if place == "intervention.operations":
                node[last] = without_orphans(node[last])
            dropped = removed_models if place == "display.models" else set()
            node[last] = {
                name: entry for name, entry in node[last].items() if entry is not None and name not in dropped
            }
    return result


def with_model_weights(values: dict[str, Any]) -> dict[str, Any]:
    """The config with an asset for every model that names its own `hub` or `path`: one entry adds a model.

    Entries that are not valid are left alone; validation then says what is wrong with them.
    """
    entries = values.get("models")
    if not isinstance(entries, dict) or not isinstance(values.get("assets"), dict):
        return values
    for name, entry in entries.items():
        if not isinstance(entry, dict):
            continue
        source = {key: entry[key] for key in ("hub", "revision", "path") if entry.get(key) is not None}
        if not source.keys() & {"hub", "path"}:
            continue
        licence = entry.get("licence", PublicModel.model_fields["licence"].default)
        asset = {"format": "transformers", "licence": licence, "sources": [source]}
        values["assets"].setdefault(f"{name}{WEIGHTS}", asset)
    return values


def _explain(problem: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = _sibling_fields(problem["loc"])
        return f"{place}: unknown key{nearest(str(problem['loc'][-1]), fields) if fields else ''}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] in ("missing", "value_error"):
        return f"{place}: {message}" if place else message
    return f"{place}: {message} (found {problem['input']!r})"


def _sibling_fields(place: tuple[Any, ...]) -> list[str]:
    """Names that are valid beside the unknown key at `place`, found by walking the JSON schema."""
    schema = Config.model_json_schema()
    nodes = [schema]
    for part in place[:-1]:
        nodes = [found for node in nodes for found in _descend(schema, node, part)]
    return sorted({name for node in nodes for name in _resolve(schema, node).get("properties", {})})


def _resolve(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _family_of(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Any:
    return _resolve(schema, node).get("properties", {}).get("family", {}).get("const")


def _descend(schema: Mapping[str, Any], node: Mapping[str, Any], part: Any) -> Iterator[Mapping[str, Any]]:
    node = _resolve(schema, node)
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if tagged := [choice for choice in choices if _family_of(schema, choice) == part]:
        # The tag of a model's family stands in the place but is no key.
        yield from tagged
        return
    below = [found for choice in choices for found in _descend(schema, choice, part)]
    if isinstance(part, int) and "items" in node:
        yield node["items"]
    elif part in node.get("properties", {}):
        yield node["properties"][part]
    elif isinstance(node.get("additionalProperties"), Mapping):
        yield node["additionalProperties"]
    elif below:
        yield from below
    elif (tagged := node.get("discriminator", {}).get("mapping", {}).get(part)) is not None:
        # The tag of a union, such as an engine's name, stands in the place but is no key.
        yield {"$ref": tagged}
    else:
        yield from choices
