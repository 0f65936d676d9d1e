"""What a config says in one section must fit what it says in others, and what it names must be there."""

import itertools
import re
from collections.abc import Iterator, Mapping
from os.path import isdir, isfile  # unlike Path's, no error for a name that is too long
from pathlib import Path
from typing import Any

from workflow_scripts.scoring.registry import SCORERS
from workflow_scripts.settings.assets import AssetSettings, PackageSource
from workflow_scripts.settings.base import MAX_NAME_LENGTH, NAME_PATTERN, nearest
from workflow_scripts.settings.config import INSTRUCTIONS, PUNKT, Config
from workflow_scripts.settings.families.composite import CheckpointsModel, unlike_training
from workflow_scripts.settings.speech import recordings_of

Problem = tuple[tuple[Any, ...], str]
"""Place of a key, and what is wrong with it."""

KINDS = {"gguf": "a language model", "ctranslate2_whisper": "a Whisper model", "files": "data"}
"""What a source's format says about its content; a transformers folder can hold any model."""
OFFICIAL_EVALUATORS = "src/evaluator"


def contradictions(config: Config) -> Iterator[Problem]:
    """Everything wrong that needs more than one section to see."""
    yield from _names(config)
    yield from _references(config)
    yield from _formats(config)
    yield from _subsets(config)
    yield from _models(config)
    yield from _layers(config)
    yield from _probes(config)


def missing_paths(config: Config, folder: Path) -> Iterator[Problem]:
    """Files and folders of the user's that the config names and that are not there; relative ones start at `folder`.

    Local sources of assets are left to fetching, which comes before everything else: once fetched, they may go.
    """
    for name, model in config.models.items():
        if model.checkpoints_folder(name) is not None and not model.trained_here:
            index = folder / model.loaded_from(name)
            if not isfile(index):
                yield _problem(
                    ("models", name, "folder"), f"{index} does not exist; name a folder that a training of ours wrote"
                )
            elif isinstance(model, CheckpointsModel):
                yield from (_problem(("models", name, field), text) for field, text in unlike_training(model, index))
        for subset in () if model.opened else model.files:
            for form in model.forms:
                for path in model.paths(subset, form):
                    if not (folder / path).is_file():
                        yield _problem(("models", name, "files", subset, form), f"{folder / path} does not exist")
    for name, voice in config.speech.voices.items():
        recorded = recordings_of(voice)
        if recorded is not None and recorded.folder and not isdir(folder / recorded.folder):
            yield _problem(("speech", "voices", name, "folder"), f"{folder / recorded.folder} is no folder")
    for name, audited in config.audits.items():
        for path in audited.files():
            if not isfile(folder / path):
                yield _problem(("audits", name), f"{folder / path} does not exist")
    official = config.scoring.official
    if official is not None and not isdir(folder / official / OFFICIAL_EVALUATORS):
        yield _problem(
            ("scoring", "official"), f"{folder / official} has no {OFFICIAL_EVALUATORS}; name a VoiceBench checkout"
        )
    if config.scoring.panda is not None:
        for key in ("classifier", "vectorizer"):
            path = folder / getattr(config.scoring.panda, key)
            if not isfile(path):
                yield _problem(("scoring", "panda", key), f"{path} does not exist")


def _problem(place: tuple[Any, ...], message: str) -> Problem:
    return place, f"{'.'.join(str(part) for part in place)}: {message}"


def _names(config: Config) -> Iterator[Problem]:
    sections: dict[str, Mapping[str, Any]] = {
        "assets": config.assets,
        "models": config.models,
        "benchmark.subsets": config.benchmark.subsets,
        "speech.voices": config.speech.voices,
        "training.recipes": config.training.recipes,
        "intervention.operations": config.intervention.operations,
        "audits": config.audits,
    }
    for section, names in sections.items():
        for name in names:
            place = (*section.split("."), name)
            if not re.fullmatch(NAME_PATTERN, name):
                yield _problem(place, "names become path parts; use a-z, 0-9, '.', '_' and '-'")
            elif len(name) > MAX_NAME_LENGTH:
                yield (
                    place,
                    (
                        f"{section}.{name[:20]}...: a name of {len(name)} characters; names become path parts, "
                        f"{MAX_NAME_LENGTH} are the most"
                    ),
                )
    if INSTRUCTIONS in config.benchmark.subsets:
        yield _problem(("benchmark", "subsets", INSTRUCTIONS), "this name is reserved for the training prompts")
    if PUNKT not in config.assets:
        yield _problem(
            ("assets", PUNKT), "missing; scoring needs this asset, copy its entry from the default assets.yaml"
        )
    for name in config.models.keys() & config.assets.keys():
        yield _problem(("models", name), "an asset has the same name; rename one of them")


def _references(config: Config) -> Iterator[Problem]:
    for place, name, known in _named(config):
        if name not in known:
            yield _problem(place, f"{name!r} is not defined{nearest(name, known)}")


def _named(config: Config) -> Iterator[tuple[tuple[Any, ...], str, Mapping[str, Any]]]:
    """Every name that stands for an entry elsewhere: its place, itself, and the entries there."""
    assets, answered = config.assets, config.answered_subsets()
    yield ("speech", "voice"), config.speech.voice, config.speech.voices
    if config.speech.training_voice is not None:
        yield ("speech", "training_voice"), config.speech.training_voice, config.speech.voices
    yield ("speech", "asr", "asset"), config.speech.asr.asset, assets
    for subset in config.evaluation.subsets or ():
        yield ("evaluation", "subsets"), subset, config.benchmark.subsets
    yield ("intervention", "subset"), config.intervention.subset, answered
    if config.patching is not None and config.patching.subset is not None:
        yield ("patching", "subset"), config.patching.subset, answered
    for name, subset in config.benchmark.subsets.items():
        yield ("benchmark", "subsets", name, "asset"), subset.asset, assets
        if subset.voice is not None:
            yield ("benchmark", "subsets", name, "voice"), subset.voice, config.speech.voices
    for name, voice in config.speech.voices.items():
        recorded = recordings_of(voice)
        if recorded is not None and recorded.asset is not None:
            yield ("speech", "voices", name, "asset"), recorded.asset, assets
    for number, source in enumerate(config.training.instructions.sources):
        yield ("training", "instructions", "sources", number, "asset"), source.asset, assets
    for subset in config.activations.subsets or ():
        yield ("activations", "subsets"), subset, answered
    for name, model in config.models.items():
        for field, asset in model.asset_fields(name).items():
            yield ("models", name, field), asset, assets
        if model.trained_here:
            yield ("models", name, "recipe"), model.recipe, config.training.recipes
        for subset in getattr(model, "files", ()):
            yield ("models", name, "files"), subset, config.benchmark.subsets
    for name in config.display.models:
        yield ("display", "models"), name, config.models
    for name in config.display.subsets:
        yield ("display", "subsets"), name, config.benchmark.subsets


def _formats(config: Config) -> Iterator[Problem]:
    """Assets that cannot be what they are named as: data as an encoder, a speech model as a backbone."""
    used: list[tuple[tuple[Any, ...], str, str]] = [
        (("speech", "asr", "asset"), config.speech.asr.asset, "a Whisper model")
    ]
    for name, model in config.models.items():
        for key, kind in (("encoder", "a Whisper model"), ("backbone", "a language model")):
            if (asset := getattr(model, key, None)) is not None:
                used.append((("models", name, key), asset, kind))
    for name, subset in config.benchmark.subsets.items():
        used.append((("benchmark", "subsets", name, "asset"), subset.asset, "data"))
    for number, source in enumerate(config.training.instructions.sources):
        used.append((("training", "instructions", "sources", number, "asset"), source.asset, "data"))
    for place, name, file in _files(config):
        if name in config.assets and (files := _declared(config.assets[name])) and file not in files:
            yield _problem(place, f"asset {name!r} has no file {file!r}{nearest(file, files)}")
    for place, name, kind in used:
        if name in config.assets and (other := _kinds(config.assets[name]) - {kind}):
            yield _problem(place, f"{name!r} is {' and '.join(sorted(other))}, but {kind} is needed")


def _files(config: Config) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    for name, voice in config.speech.voices.items():
        recorded = recordings_of(voice)
        if recorded is not None and recorded.file is not None:
            yield ("speech", "voices", name, "file"), recorded.asset, recorded.file
    for name, subset in config.benchmark.subsets.items():
        yield ("benchmark", "subsets", name, "file"), subset.asset, subset.file
    for number, source in enumerate(config.training.instructions.sources):
        for key in ("file", "exclude_file"):
            if (file := getattr(source, key)) is not None:
                yield ("training", "instructions", "sources", number, key), source.asset, file


def _declared(asset: AssetSettings) -> set[str]:
    """The files of an asset if all its sources list them; a folder's or a repository's are not known beforehand."""
    known = [source.files for source in asset.sources if isinstance(source, PackageSource)]
    return set.intersection(*map(set, known)) if len(known) == len(asset.sources) else set()


def _kinds(asset: AssetSettings) -> set[str]:
    formats = {source.format or asset.format for source in asset.sources}
    return {KINDS[name] for name in formats if name in KINDS}


def _subsets(config: Config) -> Iterator[Problem]:
    for name, subset in config.benchmark.subsets.items():
        fit = [scorer for scorer, found in SCORERS.items() if subset.layout in (*found.layouts, "questions")]
        if subset.scorer not in fit:
            yield _problem(
                ("benchmark", "subsets", name, "scorer"),
                f"{subset.scorer!r} cannot score layout {subset.layout!r}; use {' or '.join(fit)}",
            )

        if subset.scorer == "judge":
            if config.scoring.judge is None:
                yield _problem(
                    ("benchmark", "subsets", name, "scorer"),
                    "'judge' asks a language model; declare it in scoring.judge: {address, model}",
                )
            if subset.overall:
                yield _problem(
                    ("benchmark", "subsets", name, "overall"), "judged scores have no part in Overall; set it to false"
                )
        voice = config.speech.voices.get(subset.voice or config.speech.voice)
        behind = None if voice is None else recordings_of(voice)
        recorded = None if behind is None or behind.file is not None else behind.asset
        if recorded is not None and recorded != subset.asset:
            yield _problem(
                ("benchmark", "subsets", name, "voice"),
                f"the voice has the recordings of asset {recorded!r}, the questions are of {subset.asset!r}",
            )
        if subset.layout == "voicebench" and recorded is None:
            yield _problem(
                ("benchmark", "subsets", name, "voice"),
                "layout 'voicebench' is heard as published, never spoken again: name a voice "
                f"{{engine: recorded, asset: {subset.asset}}}",
            )


def _models(config: Config) -> Iterator[Problem]:
    for name, model in config.trained_models().items():
        if model.recipe not in config.training.recipes:
            continue
        recipe = config.training.recipes[model.recipe]
        if problem := recipe.unfit_batch(model.processes):
            yield _problem(("models", name, "processes"), f"{problem} in training.recipes.{model.recipe}")
        if problem := recipe.unfit_objective(model.strategy, model.processes, model.distill is not None):
            yield _problem(("models", name, "recipe"), f"training.recipes.{model.recipe}: {problem}")
        if problem := recipe.unfit_samples(model.strategy, config.training.instructions.prompts):
            yield _problem(("models", name, "recipe"), f"training.recipes.{model.recipe}: {problem}")
        if model.start is not None and (problem := _unfit_start(config, name)):
            yield _problem(("models", name, "start"), problem)
        try:
            recipe.rates(model.strategy)
        except ValueError as error:
            yield _problem(("models", name, "strategy"), f"training.recipes.{model.recipe}: {error}")
    if not any(model.opened for model in config.models.values()):
        yield _problem(("models",), "only answers made elsewhere; without a model to open use `audits`, docs/audit.md")
    for name, model in config.models.items():
        if not model.opened and (lacking := sorted(set(config.answered_subsets()) - set(model.files))):
            yield _problem(
                ("models", name, "files"),
                f"no answers to subset(s) {', '.join(lacking)}; add them, or leave these subsets out "
                "(benchmark.subsets: {name: null}, or evaluation.subsets)",
            )
    for (first, entry), (second, other) in itertools.combinations(config.models.items(), 2):
        if entry == other:
            yield _problem(
                ("models", second),
                f"the same entry as models.{first}, so one run would count as two; change its seed or remove it",
            )


def _unfit_start(config: Config, name: str) -> str | None:
    """Why a run cannot start from the model that it names; None if it can."""
    model = config.models[name]
    first = config.trained_models().get(model.start)
    if first is None or first is model:
        others = [other for other, entry in config.trained_models().items() if entry.start is None and other != name]
        what = "itself" if first is model else f"{model.start!r}: no model that this study trains"
        return f"{what}{nearest(model.start, others)}"
    if first.start is not None:
        return f"{model.start!r} starts from {first.start!r} itself; start from that one"
    recipes = config.training.recipes
    mine, its = recipes[model.recipe], recipes.get(first.recipe)
    if its is None:
        return None  # said elsewhere
    differ = [part for part in ("backbone", "encoder") if getattr(model, part) != getattr(first, part)]
    differ += ["recipe's adapter"] if mine.adapter != its.adapter else []
    if differ:
        return f"{model.start!r} has another {' and '.join(differ)}, so its adapter does not fit"
    if mine.warmup == "none":
        return f"takes the place of the warm-up, but recipe {model.recipe!r} has none; set warmup: ctc there"
    if mine.checkpoint_steps[0] == 0:
        return (
            f"step 0 would be the last checkpoint of {model.start!r} again; remove 0 from checkpoint_steps of recipe "
            f"{model.recipe!r}"
        )
    return None


def _layers(config: Config) -> Iterator[Problem]:
    if (layers := config.activations.layers) is None:
        return
    for name, edit in config.intervention.operations.items():
        if isinstance(edit.path, int) and edit.path not in layers:
            yield _problem(
                ("activations", "layers"),
                f"{layers} lacks {edit.path}, the layer of the path of intervention.operations.{name}; add it",
            )


def _probes(config: Config) -> Iterator[Problem]:
    """Only states that are kept can be probed."""
    if config.probes is None or config.probes.subsets is None:
        return
    answered = config.answered_subsets()
    analysed = config.activations.subsets or [name for name, one in answered.items() if one.overall]
    for name in config.probes.subsets:
        if name not in analysed:
            yield _problem(
                ("probes", "subsets"), f"{name!r} is not among the analysed subsets{nearest(name, analysed)}"
            )
