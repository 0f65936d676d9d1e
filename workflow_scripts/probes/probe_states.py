"""What linear probes read off the states of one checkpoint, by layer and form: its rows of probes.csv (ours).

For every target (`probes.targets`), layer and pair of forms: the probe is fitted to one form and asked in the other
one, in folds of questions, with its control task (`measures.probes`). The questions of all probed subsets are pooled.

accuracy: share of items told right, with an interval over questions; chance: share of the most frequent class; control:
accuracy of the control task; selectivity: their difference, paired by question; p: of renamed classes, where there are
more than two. n: questions, items: words or spoken
questions. skipped: words left out for want of states, by reason in note. A target that cannot be probed has one row
that says why, a layer whose states are not kept as well.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.logs import progress
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.artifacts.word_times import WORD_TIMES
from workflow_scripts.measures.probes import Hits, Task, probe, question_mean, renamed_p
from workflow_scripts.probes.items import Item, Items, read_items
from workflow_scripts.probes.targets import OF_QUESTIONS, Asked, Speakers, ask
from workflow_scripts.settings.probes import ProbeSettings

logger = logging.getLogger(__name__)

NOT_KEPT = "states not kept (activations.layers)"


def probe_states(
    states: Sequence[Path],
    words: Sequence[Path],
    questions: Sequence[Path],
    table: Path,
    *,
    probes: Mapping[str, Any],
    speakers: Speakers,
    seed: int,
) -> None:
    """Write the rows of one run.

    Args:
        states: state files of one checkpoint. words, questions: word_times.jsonl and questions.jsonl of their subsets,
            each in a folder of the subset's name.
        speakers: who speaks each subset: its `voice`, and whether that is `recorded` or synthetic.
        seed: of the choice of items, of folds and of control labels.

    Raises:
        ArtifactError: the files do not hold the same questions; names file and remedy.
    """
    settings = ProbeSettings.model_validate(probes)
    files = {path.parent.name: path for path in words}
    times = {subset: {one.id: one for one in WORD_TIMES.read(path)} for subset, path in files.items()}
    asked = {path.parent.name: {one.id: one for one in QUESTIONS.read(path)} for path in questions}
    with ExitStack() as opened:
        readers = [opened.enter_context(StateReader(path)) for path in states]
        items = read_items(readers, asked, times, files)
        targets = {target: ask(target, items, speakers, settings, seed) for target in settings.targets}
        rows = [*_rows(readers, items, targets, settings, seed)]
    facts = readers[0].attributes
    run = {
        "model": facts["model"],
        "checkpoint": facts["checkpoint"],
        "step": checkpoint_step(str(facts["checkpoint"])),
    }
    write_table(table, [run | row for row in rows], "probes")


def _rows(
    readers: Sequence[StateReader], items: Items, targets: Mapping[str, Asked], settings: ProbeSettings, seed: int
) -> Iterator[dict[str, Any]]:
    left_out = {"skipped": items.left_out.total(), "note": _counted(items)}
    for target, asked in targets.items():
        logger.info("%s: %s", target, asked.reason or f"{len(asked.items)} items")
        if asked.task is None:
            note = "; ".join(filter(None, [asked.reason, "" if target in OF_QUESTIONS else left_out["note"]]))
            yield {"target": target, "n": 0, "skipped": left_out["skipped"], "note": note}
    kept = sorted(set.intersection(*(set(reader.layers) for reader in readers)))
    wanted = range(readers[0].n_layers + 1) if settings.layers is None else sorted(settings.layers)
    yield from ({"layer": layer, "n": 0, "note": NOT_KEPT} for layer in wanted if layer not in kept)
    probed = {target: asked for target, asked in targets.items() if asked.task is not None}
    chosen = [layer for layer in wanted if layer in kept] if probed else []
    for layer in progress(chosen, len(chosen), "layers probed"):
        states = layer_states(readers, layer, probed)
        for target, asked in probed.items():
            shared = {"target": target, "layer": layer} | (left_out if target not in OF_QUESTIONS else {"skipped": 0})
            for (fitted, test), hits in probe(states[target], asked.task, asked.pairs).items():
                yield shared | {"fitted": fitted, "asked": test} | _numbers(hits, asked.task, seed)


def layer_states(
    readers: Sequence[StateReader], layer: int, probed: Mapping[str, Asked]
) -> dict[str, dict[str, np.ndarray]]:
    """Of each target the mean states of its items (n, d), by form. A layer of a file is read once for all targets."""
    found: dict[str, dict[str, np.ndarray]] = {target: {} for target in probed}
    for form in sorted({form for asked in probed.values() for pair in asked.pairs for form in pair}):
        own = {target: asked.items for target, asked in probed.items() if any(form in pair for pair in asked.pairs)}
        means = mean_states(readers, form, layer, [item for items in own.values() for item in items])
        ends = np.cumsum([len(items) for items in own.values()])
        for target, part in zip(own, np.split(means, ends[:-1]), strict=True):
            found[target][form] = part
    return found


def mean_states(readers: Sequence[StateReader], form: str, layer: int, items: Sequence[Item]) -> np.ndarray:
    """Mean state of each item in one form and layer, float32 (n, d); one file's layer is in memory at a time."""
    found: list[np.ndarray] = [np.empty(0)] * len(items)
    for file in sorted({item.file for item in items}):
        block = readers[file].layer(form, layer)
        for place, item in enumerate(items):
            if item.file == file:
                found[place] = block[slice(*item.rows[form])].mean(axis=0)
    return np.stack(found)


def _numbers(hits: Hits, task: Task, seed: int) -> dict[str, Any]:
    accuracy, control = (question_mean(one, task.questions) for one in (hits.own, hits.control))
    selectivity = accuracy - control
    row = {"n": len(np.unique(task.questions)), "items": len(task.labels), "classes": int(task.labels.max()) + 1}
    row |= {"accuracy": accuracy.value, "chance": task.chance, "control": control.value}
    row["p"] = renamed_p(hits.told, task.labels, seed)
    for name, found in (("accuracy", accuracy), ("selectivity", selectivity)):
        row |= {name: found.value} | dict(zip((f"{name}_low", f"{name}_high"), found.interval))
    return row


def _counted(items: Items) -> str:
    return "; ".join(f"{reason}: {n}" for reason, n in sorted(items.left_out.items()))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: probe_states(
            *([Path(path) for path in s.input[name]] for name in ("states", "words", "questions")),
            Path(s.output.table),
            probes=s.params.probes,
            speakers=s.params.speakers,
            seed=s.params.seed,
        ),
    )
