"""patching_tags.csv: does a patch restore more for a kind of questions than for the rest? By `question_tags` (ours).

Two measures of each question, in nats of margin or loss, means over the patched layers (single ones, or of the smallest
window), so that no layer is chosen. patched: how far states of the written run, put into the spoken one, move its
outcome (patch - base). beyond_other: how much further than those of another written question do (patch - other). A tag
matters only where both say so: the second alone may be large because the other question's states do harm.

A row has the mean of the questions with a tag, that of the rest, their difference with interval and p of exchanged tags
(`statistics.by_tag`), Holm's correction over the tags of a model, kind, position class and measure. Questions without a
partner are left out; so are models without patched questions, which `patching_profiles.csv` names.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.checkpoints import checkpoint_step
from workflow_scripts.artifacts.patches import OTHER, PATCH, PATCHES, TO_SPEECH, PatchRecord
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.measures.question_tags import all_tags
from workflow_scripts.statistics.by_tag import tag_rows


def build_patch_tag_table(questions: Path, manifest: Path, patches: Sequence[Path], table: Path, *, seed: int) -> None:
    """Write patching_tags.csv.

    Args:
        questions, manifest: of the patched subset.
        patches: files of all models; shards of a model count together.
        seed: of the exchanges.
    """
    tags = all_tags(QUESTIONS.read(questions), UTTERANCES.read(manifest))
    by_run: dict[tuple[str, str, str], list[PatchRecord]] = {}
    for path in patches:
        records, header = PATCHES.read_with_header(path)
        facts = header["provenance"]
        by_run.setdefault((facts["model"], facts["checkpoint"], Path(path).parent.name), []).extend(records)
    rows = (
        {"model": model, "checkpoint": checkpoint, "step": checkpoint_step(checkpoint), "subset": subset} | row
        for (model, checkpoint, subset), records in by_run.items()
        for row in effect_rows(records, tags, seed)
    )
    write_table(table, rows, "patching_tags")


def effect_rows(
    records: Sequence[PatchRecord], tags: Mapping[str, Sequence[str]], seed: int
) -> Iterator[dict[str, Any]]:
    """Rows of one run: by kind of questions, position class and tag."""
    cells: dict[tuple[str, str], dict[str, dict[str, PatchRecord]]] = {}
    into_speech = [one for one in records if one.direction == TO_SPEECH and one.source in (PATCH, OTHER)]
    smallest = min((one.window for one in into_speech), default=0)
    for one in sorted(into_speech, key=lambda one: one.id):
        if one.window == smallest:
            cells.setdefault((one.kind, one.positions), {}).setdefault(one.id, {})[one.source] = one
    for (kind, positions), by_question in cells.items():
        pairs = {name: (own[PATCH], own[OTHER]) for name, own in by_question.items() if len(own) == 2}
        moved = np.array([np.mean(patch.values) - patch.base for patch, _ in pairs.values()])
        beyond = np.array([np.mean(patch.values) - np.mean(other.values) for patch, other in pairs.values()])
        for measure, values in (("patched", moved), ("beyond_other", beyond)):
            for row in tag_rows(values, None, [tags[name] for name in pairs], seed):
                yield {"kind": kind, "positions": positions, "measure": measure} | row


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_patch_tag_table(
            Path(s.input.questions),
            Path(s.input.manifest),
            [Path(path) for path in s.input.patches],
            Path(s.output.table),
            seed=s.params.seed,
        ),
    )
