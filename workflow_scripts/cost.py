"""What a study costs before anything runs: jobs, GPU and core hours, disk and bytes read, by stage.

    python -m workflow_scripts.cost [studies/paper.yaml ...] [--on gpu] [--rates profiles/rates.yaml]

`make cost`, with STUDY as for `make all`. Operations are counted from the config and the models' sizes (two for each
weight and position, six where it is trained), and divided by measured rates. Not listed: scores, similarity, tables,
figures and the page, jobs of seconds. Nothing is planned by Snakemake, so it takes a second whatever the study.
"""

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from workflow_scripts.plan import FLOORS
from workflow_scripts.planning.books import (
    FRAMES_PER_SECOND,
    TEMPLATE,
    TOKENS_PER_SECOND,
    Books,
    positions_per_second,
)
from workflow_scripts.planning.online import features_online, prompt_seconds, prompts_of
from workflow_scripts.planning.study import Study
from workflow_scripts.settings import INSTRUCTIONS, Config, ConfigError, read_study
from workflow_scripts.settings.families.public import WEIGHTS
from workflow_scripts.settings.intervention import ERASE
from workflow_scripts.settings.model_size import ModelSize

Sizes = Callable[[str | None], ModelSize]
Rates = Mapping[str, float]

CTC_CLASSES = 10_000
"""Tokens that the training texts hold, about: 9,408 in 3,000 prompts, 12,713 in 6,000."""
ROOT = Path(__file__).parents[1]
AUDIO_BYTES = 20_000
"""Of a second of 16 kHz FLAC (measured: 18,000 to 21,000)."""
LONG, SHORT = (65, 18.0), (15, 4.0)
"""Tokens and seconds of speech of a question with options and of another one (measured: OpenBookQA 62 and 18 s, MMLU
70, NQ 10 and 3 s)."""
SPOKEN = 12.5
"""Positions that a second of speech takes in a model that is not trained here, about."""
ANSWER_BYTES = 1500
BEHIND = 15
"""Positions from the end of a query to that of the options or the reference answer, about."""
PROBED = 400
"""Items that a probe is fitted to, about."""
MACHINES = ("cpu", "cpu_float32", "gpu")
"""Cores that multiply bfloat16, cores that do not, GPUs."""
BFLOAT16_BYTES = 2
RATES = ("start_seconds", "reading", "decoding", "training", "encoding", "speaking")


@dataclass(frozen=True)
class Cost:
    """Cost of one stage.

    Attributes:
        stage: its name. jobs: their number.
        seconds: of a core or a GPU, all jobs together. on_model: whether a model runs, so that a GPU helps.
        kept, temporary: bytes written that stay, and that are deleted on the way (most at one time).
        read: bytes.
    """

    stage: str
    jobs: int
    seconds: float
    on_model: bool
    kept: float = 0.0
    temporary: float = 0.0
    read: float = 0.0


def costs(config: Config, rates: Rates) -> Iterator[Cost]:
    """The stages of a study in order.

    Raises:
        ConfigError: the size of a model is not known.
    """
    study, books = Study(config), Books(config)

    def size(asset: str | None) -> ModelSize:
        found = None if asset is None else books.size(asset)
        if found is None and asset is not None and asset.endswith(WEIGHTS):
            model = asset.removesuffix(WEIGHTS)
            raise ConfigError(
                f"the size of models.{model} is not known before it is fetched: set it to null in a file of yours and "
                "name that one last, which gives the cost of the others"
            )
        if found is None:
            raise ConfigError(
                f"the size of {asset or 'a model without backbone'} is not known before it is fetched: put the keys of "
                f"its config.json into assets.{asset}.config (docs/assets.md)"
            )
        return found

    def seconds(kind: str, operations: float, jobs: int) -> float:
        return operations / rates[kind] + jobs * rates["start_seconds"]

    prompts = config.training.instructions
    n_prompts = prompts.prompts + prompts.heldout if study.trained_models else 0
    online, _ = features_online(config, books)
    asked = {subset: study.n_questions(subset) for subset in study.subsets}
    speech = {subset: _question(config, subset)[1] * n for subset, n in asked.items()} | (
        {INSTRUCTIONS: prompt_seconds(config)} if n_prompts else {}
    )
    total = sum(speech.values())
    shards = len(study.prompt_shards)
    pieces = len(speech) + (shards - 1 if n_prompts else 0)
    yield Cost("speak", pieces, total / rates["speaking"], False, kept=AUDIO_BYTES * total)

    encoders = sorted({entry.encoder for entry in config.models.values() if getattr(entry, "encoder", None)})
    for name in encoders:
        one = size(name)
        encoded = [length for subset, length in speech.items() if not (online and subset == INSTRUCTIONS)]
        frames = FRAMES_PER_SECOND * sum(encoded)
        operations, kept = 2 * encoder_parameters(one) * frames, frames * one.d * 2
        yield Cost(f"encode ({name})", len(encoded), seconds("encoding", operations, len(encoded)), True, kept,
                   read=AUDIO_BYTES * sum(encoded))  # fmt: skip
    asr = size(config.speech.asr.asset)
    clips = sum(asked.values()) + n_prompts
    _, filtered = prompts_of(config, lambda source: source.wer_filter)
    heard = total - speech.get(INSTRUCTIONS, 0) + (filtered if n_prompts else 0)
    operations = 2 * encoder_parameters(asr) * FRAMES_PER_SECOND * heard
    decoded = 2 * (asr.parameters - encoder_parameters(asr)) * TOKENS_PER_SECOND * heard
    hearing = seconds("encoding", operations, pieces) + decoded / rates["decoding"]
    yield Cost("transcribe", pieces, hearing, True, kept=500.0 * clips, read=AUDIO_BYTES * heard)

    backbones = sorted({config.models[name].backbone for name in study.trained_models})
    open_prompts, _ = prompts_of(config, lambda source: not source.is_answered)
    answered = 2 * open_prompts * (TEMPLATE + prompts.max_words), 2 * open_prompts * prompts.max_new_tokens
    spent = sum(
        size(name).parameters * (answered[0] / rates["reading"] + answered[1] / rates["decoding"]) for name in backbones
    )
    if backbones:
        jobs = len(backbones) * shards
        yield Cost("answer the training prompts", jobs, spent + jobs * rates["start_seconds"], True,
                   kept=ANSWER_BYTES * n_prompts * len(backbones))  # fmt: skip
        yield _training(config, study, size, rates, online)

    yield _answers(config, study, size, rates, asked)
    yield _states(config, study, size, rates, asked)
    yield _edits(config, study, size, rates, asked)
    yield from _patches(config, study, size, rates, asked)
    yield from _probes(config, study, size, rates)


def _question(config: Config, subset: str) -> tuple[int, float]:
    """Tokens and seconds of a question, on average."""
    return LONG if config.benchmark.subsets[subset].scorer == "multiple_choice" else SHORT


def _positions(config: Config, model: str | None, subset: str) -> float:
    """Positions of a question in its template: written, or spoken to a model."""
    tokens, seconds = _question(config, subset)
    if model is None:
        return TEMPLATE + tokens
    entry = config.models[model]
    trained = entry.trained_here and config.training.recipes[entry.recipe].adapter
    return TEMPLATE + seconds * (positions_per_second(trained) if trained else SPOKEN)


def encoder_parameters(size: ModelSize) -> int:
    """Weights of Whisper's encoder."""
    return size.layers * (4 * size.d * size.d + 2 * size.d * size.inner)


def _training(config: Config, study: Study, size: Sizes, rates: Rates, online: bool) -> Cost:
    prompts, jobs = config.training.instructions, len(study.trained_models)
    seconds = prompt_seconds(config) / (prompts.prompts + prompts.heldout)
    operations = encoded = kept = read = 0.0
    largest = 0.0
    for name in study.trained_models:
        entry = config.models[name]
        recipe, one, encoder = config.training.recipes[entry.recipe], size(entry.backbone), size(entry.encoder)
        samples = recipe.batch_size * recipe.checkpoint_steps[-1]
        trained = entry.strategy == "full"
        adapter = recipe.adapter.hidden_size * (recipe.adapter.stack * encoder.d + one.d)
        if recipe.objective == "ctc":  # the language model is not run
            stacked = samples * seconds * FRAMES_PER_SECOND / recipe.adapter.stack
            operations += (6 * adapter + 4 * CTC_CLASSES * one.d) * stacked
        else:
            length = TEMPLATE + positions_per_second(recipe.adapter) * seconds + prompts.max_new_tokens
            operations += (6 if trained else 4) * one.parameters * samples * length
        saved = 4 * adapter + (2 * one.parameters if trained else 0)
        kept += saved * len(recipe.checkpoint_steps)
        largest = max(largest, 12 * (adapter + (one.parameters if trained else 0)))
        read += samples * seconds * (AUDIO_BYTES if online else FRAMES_PER_SECOND * encoder.d * 2)
        encoded += 2 * encoder_parameters(encoder) * FRAMES_PER_SECOND * seconds * samples * online
    spent = operations / rates["training"] + encoded / rates["encoding"] + jobs * rates["start_seconds"]
    return Cost("train", jobs, spent, True, kept=kept, temporary=largest, read=read)


class Asked(NamedTuple):
    """Questions put to a language model.

    Attributes:
        asset: the language model. model: the speech LLM that hears them, None where they are written.
        jobs: in which they are asked, of each shard. times: how often each is asked. subsets: of which they are.
    """

    asset: str | None
    model: str | None
    jobs: int
    times: int
    subsets: Sequence[str]


def _asked(study: Study) -> Iterator[Asked]:
    """Of each model, of its floors, and of the untuned backbones."""
    for name in study.opened_models:
        entry, checkpoints = study.config.models[name], len(study.checkpoints(name))
        asset = entry.language_model or entry.weights_asset(name)
        yield Asked(asset, name, checkpoints, checkpoints, study.subsets)
        if not entry.frozen:  # else written answers are the backbone's
            yield Asked(asset, None, 0, 2 * checkpoints, study.subsets)
        yield Asked(asset, name, 1, len(FLOORS), study.floor_subsets)
    for name in study.backbones:
        yield Asked(name, None, 1, 2, study.subsets)


def _answers(config: Config, study: Study, size: Sizes, rates: Rates, asked: Mapping[str, int]) -> Cost:
    jobs, spent, read, kept = 0, 0.0, 0.0, 0.0
    tokens = {subset: config.benchmark.subsets[subset].max_new_tokens for subset in asked}
    for one in _asked(study):
        weights, loads = size(one.asset).parameters, one.jobs * sum(len(study.shards(name)) for name in one.subsets)
        reading = sum(asked[name] * _positions(config, one.model, name) for name in one.subsets)
        decoding = sum(asked[name] * tokens[name] for name in one.subsets)
        spent += 2 * weights * one.times * (reading / rates["reading"] + decoding / rates["decoding"])
        kept += ANSWER_BYTES * one.times * sum(asked[name] for name in one.subsets)
        jobs += loads
        read += loads * 2 * weights
    return Cost("answer", jobs, spent + jobs * rates["start_seconds"], True, kept=kept, read=read)


def _states(config: Config, study: Study, size: Sizes, rates: Rates, asked: Mapping[str, int]) -> Cost:
    analysed = study.analysed_subsets
    n, shards = sum(asked[subset] for subset in analysed), sum(len(study.shards(subset)) for subset in analysed)
    jobs, spent, read, kept, largest = 0, 0.0, 0.0, 0.0, 0.0
    for name in study.opened_models:
        entry = config.models[name]
        one, checkpoints = size(entry.language_model or entry.weights_asset(name)), len(study.checkpoints(name))
        passed = sum(asked[s] * (_positions(config, None, s) + _positions(config, name, s)) for s in analysed)
        spent += checkpoints * 2 * one.parameters * passed / rates["reading"]
        jobs += checkpoints * shards
        written = (passed - 2 * n * TEMPLATE) * (one.layers + 1) * one.d * 2
        kept += checkpoints * written if config.activations.keep else 0
        largest = max(largest, 0 if config.activations.keep else written)
        read += checkpoints * (shards * 2 * one.parameters + 2 * written)
    spent += jobs * rates["start_seconds"]
    return Cost("states and alignment", jobs, spent, True, kept=kept, temporary=largest, read=read)


def _edits(config: Config, study: Study, size: Sizes, rates: Rates, asked: Mapping[str, int]) -> Cost:
    subset, operations = config.intervention.subset, config.intervention.operations
    shards, tokens = len(study.shards(subset)), config.benchmark.subsets[subset].max_new_tokens
    rounds = sum(len(edit.layers or [0]) for edit in operations.values())
    # Erasers are fitted to the states of both forms, a pass of each per layer.
    fits = sum(len(edit.layers or [0]) for edit in operations.values() if edit.operation == ERASE)
    jobs, spent, read = 0, 0.0, 0.0
    for name in study.editable_models:
        entry = config.models[name]
        weights = size(entry.language_model or entry.weights_asset(name)).parameters
        spoken, written = _positions(config, name, subset), _positions(config, None, subset)
        once = spoken / rates["reading"] + tokens / rates["decoding"]
        spent += 2 * weights * rounds * asked[subset] * once + shards * rates["start_seconds"]
        spent += 2 * weights * fits * asked[subset] * (spoken + written) / rates["reading"]
        jobs += shards
        read += shards * 2 * weights
    kept = ANSWER_BYTES * rounds * asked[subset] * len(study.editable_models)
    return Cost("edit", jobs, spent, True, kept=kept, read=read)


def _patches(config: Config, study: Study, size: Sizes, rates: Rates, asked: Mapping[str, int]) -> Iterator[Cost]:
    """Exchanged states, and the attention of answers; nothing where the stage is off."""
    if (settings := config.patching) is None:
        return
    jobs = len(study.patches()) + len(study.patches("attention"))
    kinds = 1 if settings.select == "all" else 2
    n = min(asked[config.patched_subset], kinds * settings.questions * len(study.shards(config.patched_subset)))
    spent = read = 0.0
    for name in study.editable_models:
        entry = config.models[name]
        one = size(entry.language_model or entry.weights_asset(name))
        # A cell runs the layers above its own, in two directions, from three sources: the patch and its nulls.
        layers = sum(1 - first / one.layers for first in settings.layers or range(one.layers))
        prompt = _positions(config, name, config.patched_subset)
        passed = sum(prompt if place in ("query", "content") else BEHIND for place in settings.positions)
        positions = 6 * len(settings.windows) * layers * passed + 8 * prompt
        if settings.attention is not None:
            windows = 1 + one.layers / settings.attention.stride
            positions += 2 * prompt + 2 * windows * (1 + settings.attention.draws) * BEHIND
        spent += 2 * one.parameters * n * positions / rates["reading"]
        read += jobs / len(study.editable_models) * 2 * one.parameters
    yield Cost("exchange states", jobs, spent + jobs * rates["start_seconds"], True, read=read)


def _probes(config: Config, study: Study, size: Sizes, rates: Rates) -> Iterator[Cost]:
    """Linear probes; nothing where the stage is off."""
    if (settings := config.probes) is None:
        return
    jobs, spent = len(study.probe_tables()), 0.0
    for name in study.opened_models:
        entry = config.models[name]
        one = size(entry.language_model or entry.weights_asset(name))
        layers = one.layers + 1 if settings.layers is None else len(settings.layers)
        fits = 2 * layers * len(settings.targets) * settings.folds * (1 + settings.draws)
        spent += 2 * fits * PROBED**2 * one.d / rates["reading"]
    yield Cost("probe", jobs, spent + jobs * rates["start_seconds"], False)


def table(found: Sequence[Cost], on_gpu: bool) -> str:
    """One line a stage and the totals; 1 GB = 10^9 bytes."""
    lines = [f"{'stage':<32} {'jobs':>6} {'GPU h':>10} {'core h':>10} {'kept GB':>10} {'temp. GB':>10} {'read GB':>10}"]

    def line(name: str, jobs: int, gpu: float, core: float, *sizes: float) -> str:
        numbers = "".join(f" {value:>10,.1f}" for value in (gpu / 3600, core / 3600, *(one / 1e9 for one in sizes)))
        return f"{name:<32} {jobs:>6}{numbers}"

    hours = [(one.seconds * (on_gpu and one.on_model), one.seconds * (not on_gpu or not one.on_model)) for one in found]
    for one, (gpu, core) in zip(found, hours):
        lines.append(line(one.stage, one.jobs, gpu, core, one.kept, one.temporary, one.read))
    kept, temporary = sum(one.kept for one in found), max(one.temporary for one in found)
    lines.append(line("total", sum(one.jobs for one in found), sum(gpu for gpu, _ in hours),
                      sum(core for _, core in hours), kept, temporary, sum(one.read for one in found)))  # fmt: skip
    lines.append(f"disk: {kept / 1e9:,.1f} GB at rest, {(kept + temporary) / 1e9:,.1f} GB at most")
    return "\n".join(lines)


def this_machine(config: Config) -> str:
    """Which of `MACHINES` this is."""
    if shutil.which("nvidia-smi"):
        return "gpu"
    return "cpu" if Books(config).number == BFLOAT16_BYTES else "cpu_float32"


def read_rates(path: Path, on: str) -> dict[str, float]:
    """The rates of one of `MACHINES`.

    Raises:
        ConfigError: the file lacks one, or it is no positive number.
    """
    try:
        found = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get(on) or {}
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise ConfigError(f"{path}: not readable as rates ({error}); profiles/rates.yaml is an example") from error
    wrong = [name for name in RATES if not isinstance(found.get(name), int | float) or not found[name] > 0]
    if wrong:
        raise ConfigError(f"{path}: {on} needs positive numbers for {', '.join(wrong)}; profiles/rates.yaml has them")
    return {name: float(found[name]) for name in RATES}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configfiles", nargs="*", type=Path, help="further config files, as for --configfile")
    parser.add_argument("--rates", type=Path, default=ROOT / "profiles/rates.yaml", help="rates of another machine")
    parser.add_argument("--on", choices=MACHINES, help="default: as this machine")
    chosen = parser.parse_args(arguments)
    try:
        config = read_study(ROOT, [path.absolute() for path in chosen.configfiles])
        on = chosen.on or this_machine(config)
        print(table(list(costs(config, read_rates(chosen.rates, on))), on == "gpu"))
        print(f"rates: {on}, of {chosen.rates}; not counted: jobs of seconds (scores, tables, figures, the page)")
        if config.trained_models():
            online, why = features_online(config, Books(config))
            print(f"features of the training prompts: {'computed in every step' if online else 'in a file'} ({why})")
    except ConfigError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
