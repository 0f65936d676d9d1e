"""A tiny study with its alignment file, shared by the tests of the stage."""

import dataclasses
from unittest import mock

import pytest

from tests.tiny_study import write_tiny_study
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.answers import EDITED_ANSWERS
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.artifacts.word_times import WORD_TIMES, TimedWord, WordTimes
from workflow_scripts.intervention import edit_answers as module
from workflow_scripts.speech_lm.opening.open_model import open_model

SHARD = "00-of-01"


@pytest.fixture(scope="package")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


def write_times(study, path, untimed=()):
    """Words spoken at an even rate; the last word of each question, and all of those in `untimed`, without a time."""
    seconds = {row.id: row.seconds for row in UTTERANCES.read(study.manifest)}
    records = []
    for question in QUESTIONS.read(study.questions):
        words, place = question.prompt.split(), 0
        share, found = seconds[question.id] / len(words), []
        for number, word in enumerate(words):
            known = number < len(words) - 1 and question.id not in untimed
            times = (number * share, (number + 1) * share) if known else None
            found.append(TimedWord(text=word, span=(place, place + len(word)), seconds=times))
            place += len(word) + 1
        records.append(WordTimes(id=question.id, words=found))
    WORD_TIMES.write(path, records, {})
    return path


def align(study, folder, untimed=(), layers=None):
    """Alignment file of a tiny study, of all layers or of those chosen."""
    options = {"shard": SHARD, "seed": 7}
    options["activations"] = {"layers": layers}
    dump_states(**study.inputs(), states=folder / "states.h5", **options)
    words = write_times(study, folder / "times.jsonl", untimed)
    align_tokens(folder / "states.h5", folder / "alignment.h5", draws=2, seed=7, examples=0, words=words)
    return folder / "alignment.h5"


@pytest.fixture(scope="package")
def alignment(study, tmp_path_factory):
    return align(study, tmp_path_factory.mktemp("alignment"))


@pytest.fixture(scope="package")
def run_edits(study, alignment):
    """Runs the step; gives the records by (question, edit) and the header's provenance."""

    def run(
        path, operations, layer=0, batch_size=3, seed=7, alignment=alignment, study=study, dtype="float32", partial=None
    ):
        def open_in_float32(*arguments, **options):
            trained = open_model(*arguments, **options)
            return dataclasses.replace(trained, lm=study.load()) if dtype == "float32" else trained

        # In the number format of the machine, other batches may round to other tokens.
        with mock.patch.object(module, "open_model", open_in_float32):
            module.edit_answers(
                **study.inputs(),
                alignment=alignment,
                answers=path,
                partial=PartialBatches(path, "of this run"),
                shard=SHARD,
                max_new_tokens=8,
                intervention={"subset": "tiny", "layer": layer, "operations": operations},
                evaluation={"batch_size": batch_size},
                seed=seed,
            )
        rows, header = EDITED_ANSWERS.read_with_header(path)
        return {(row.id, row.edit): row for row in rows}, header["provenance"]

    return run
