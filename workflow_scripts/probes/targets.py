"""Which items a probe tells apart, and by which labels.

    word      the most frequent content words, each a class
    number    number words against as many others
    entity    words of names against as many others, first words of sentences left aside
    voice     whole questions that several voices speak, by voice
    recorded  whole questions that are there recorded and synthetic

The control task draws a label for every word wherever it occurs (number, entity), for every occurrence (word: one for
each word would only rename the classes), or for every question (voice, recorded). A voice is in the speech only, so
these two are asked there.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.measures.probes import EVERY_PAIR, SPEECH, Pair, Task, plan_task
from workflow_scripts.probes.items import Item, Items
from workflow_scripts.settings.probes import EVERY_TARGET, ProbeSettings

OF_QUESTIONS = ("voice", "recorded")
"""Targets whose items are whole questions."""
Speakers = Mapping[str, Mapping[str, str]]
"""`voice` and `recorded` of each subset."""


@dataclass(frozen=True)
class Asked:
    """Items with their task, and the pairs of forms that are probed; or the reason why there is none."""

    items: Sequence[Item] = ()
    task: Task | None = None
    pairs: Sequence[Pair] = EVERY_PAIR
    reason: str = ""


def ask(target: str, items: Items, speakers: Speakers, settings: ProbeSettings, seed: int) -> Asked:
    """What is asked about `target`: classes that occur in enough different questions, at most `most` items of each."""
    classes: dict[str, list[Item]] = defaultdict(list)
    for item, label in _labelled(target, items, speakers):
        classes[label].append(item)
    in_questions = {label: len({item.question for item in own}) for label, own in classes.items()}
    enough = [label for label, n in in_questions.items() if n >= settings.occurrences]
    if target == "word":
        enough = sorted(enough, key=lambda word: (-in_questions[word], word))[: settings.words]
    if len(enough) < 2:
        return Asked(reason=_reason(target, len(enough), items, speakers, settings))
    rng = np.random.default_rng([seed, EVERY_TARGET.index(target)])
    most = settings.most if target == "word" else min(settings.most, *(len(classes[label]) for label in enough))
    chosen: list[Item] = []
    labels: list[int] = []
    for label, name in enumerate(sorted(enough)):
        own = classes[name]
        chosen += [own[place] for place in np.sort(rng.permutation(len(own))[:most])]
        labels += [label] * (len(chosen) - len(labels))
    kinds = _kinds(target, chosen)
    questions = np.array([item.question for item in chosen])
    task = plan_task(
        np.array(labels), kinds, questions, folds=settings.folds, draws=settings.draws, seed=int(rng.integers(2**31))
    )
    return Asked(chosen, task, [(SPEECH, SPEECH)] if target in OF_QUESTIONS else EVERY_PAIR)


def _labelled(target: str, items: Items, speakers: Speakers) -> Iterator[tuple[Item, str]]:
    """Items that have a label."""
    if target == "word":
        yield from ((item, item.word) for item in items.words if item.is_content)
    elif target == "number":
        yield from ((item, "number" if item.is_number else "other") for item in items.words)
    elif target == "entity":
        known = (item for item in items.words if item.is_name is not None)
        yield from ((item, "name" if item.is_name else "other") for item in known)
    else:
        heard = defaultdict(set)
        for item in items.questions:
            heard[item.question].add(speakers[item.subset][target])
        # Otherwise the questions would tell the voice.
        shared = (item for item in items.questions if len(heard[item.question]) > 1)
        yield from ((item, speakers[item.subset][target]) for item in shared)


def _kinds(target: str, chosen: Sequence[Item]) -> np.ndarray:
    """What gets a control label, numbered: `Task.controls`."""
    if target == "word":
        return np.arange(len(chosen))
    kinds = [str(item.question) if target in OF_QUESTIONS else item.word for item in chosen]
    return np.unique(kinds, return_inverse=True)[1]


def _reason(target: str, found: int, items: Items, speakers: Speakers, settings: ProbeSettings) -> str:
    if target in OF_QUESTIONS:
        labels = {speakers[item.subset][target] for item in items.questions}
        if len(labels) < 2:
            return f"only {target} {', '.join(labels)}" if target == "voice" else f"{', '.join(labels)} voices only"
    return f"{found} of two classes in {settings.occurrences} different questions"
