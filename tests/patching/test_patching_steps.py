"""From a shard to both tables: which questions are patched, what the tables say, and what happens without any."""

import dataclasses
from unittest import mock

import numpy as np
import pytest

from tests.intervention.conftest import SHARD, align
from tests.tiny_study import CHECKPOINT, write_tiny_study
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.patches import OTHER, PATCH, PATCHES, SPEECH_ONLY, TEXT_ONLY
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.patching import patch_states as module
from workflow_scripts.patching.compare_patches import compare_patches
from workflow_scripts.patching.patch_states import NO_OUTCOME, like_length
from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM
from workflow_scripts.speech_lm.opening.open_model import open_model

IDS = ("q0", "q2", "q3", "q4")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def alignment(study, tmp_path_factory):
    return align(study, tmp_path_factory.mktemp("alignment"))


def write_scores(path, form, right):
    """Scores of a form: 1 for the ids in `right`."""
    rows = [
        QuestionScore(id=name, score=float(name in right), parsed="", outcome="", rule="", unparsed=False)
        for name in IDS
    ]
    about = {"model": "tiny-lora", "checkpoint": CHECKPOINT, "subset": "tiny", "form": form, "scorer": "short_answer"}
    ScoreFile(
        **about, scorer_version="1", n=4, mean=0, interval_low=0, interval_high=0, interval_method="", unparsed_rate=0,
        nll_per_token=None, questions=rows, provenance={},
    ).write(path)  # fmt: skip
    return path


def run(study, alignment, folder, text, speech, **patching):
    """The step and the tables: records, cells, profiles."""
    patches = folder / "tiny" / f"{SHARD}.patches.jsonl"
    patches.parent.mkdir(parents=True, exist_ok=True)

    def open_in_float32(*arguments, **options):
        return dataclasses.replace(open_model(*arguments, **options), lm=study.load())

    with mock.patch.object(module, "open_model", open_in_float32):
        module.patch_states(
            **study.inputs(),
            alignment=alignment,
            text=write_scores(folder / "text.json", "text", text),
            speech=write_scores(folder / "speech.json", "speech", speech),
            patches=patches,
            partial=PartialBatches(patches, "of this run"),
            shard=SHARD,
            patching={"windows": [1, 2]} | patching,
            seed=7,
        )
    compare_patches([patches], folder / "cells.csv", folder / "profiles.csv", draws=100, seed=7)
    tables = read_table(folder / "cells.csv", "patching"), read_table(folder / "profiles.csv", "patching_profiles")
    return PATCHES.read(patches), *tables


@pytest.fixture(scope="module")
def made(study, alignment, tmp_path_factory):
    return run(study, alignment, tmp_path_factory.mktemp("made"), ("q0", "q2", "q3"), ("q4", "q0"))


def test_a_killed_sweep_goes_on_behind_its_last_batch_with_the_same_records(study, alignment, tmp_path, made):
    arguments = ("q0", "q2", "q3"), ("q4", "q0")
    sweep, done = module.sweep_batch, []

    def killed_in_the_second(*given):
        if done:
            raise KeyboardInterrupt
        done.append(given)
        return sweep(*given)

    with mock.patch.object(module, "sweep_batch", killed_in_the_second), pytest.raises(KeyboardInterrupt):
        run(study, alignment, tmp_path, *arguments, batch_size=1)
    [partial] = tmp_path.rglob("*.partial")
    with mock.patch.object(module, "sweep_batch", mock.Mock(side_effect=sweep)) as rest:
        records, _, _ = run(study, alignment, tmp_path, *arguments, batch_size=1)
    assert rest.call_count == 1, "two questions have an outcome, one was done"
    assert not partial.exists()
    for one, other in zip(records, made[0], strict=True):
        assert (one.id, one.positions, one.source, one.layers) == (
            other.id,
            other.positions,
            other.source,
            other.layers,
        )
        assert one.values == pytest.approx(other.values, abs=1e-4), "up to the size of batches"


def test_questions_right_in_one_form_only_are_patched(made):
    records, _, _ = made
    kinds = {record.id: record.kind for record in records}
    assert kinds == {"q2": TEXT_ONLY, "q3": TEXT_ONLY, "q4": SPEECH_ONLY}
    assert [record.id for record in records if record.skipped == NO_OUTCOME] == ["q3"], "it has no reference"


def test_the_tables_have_every_layer_with_its_nulls_and_count_what_is_skipped(made):
    records, cells, profiles = made
    last = select(cells, kind=TEXT_ONLY, direction="text_to_speech", positions="last", window=1)
    assert last["layer"].tolist() == [0, 1, 2] and set(last["n"]) == {1}
    one = next(r for r in records if (r.id, r.positions, r.source, r.window) == ("q2", "last", PATCH, 1))
    assert last["share"].to_numpy() == pytest.approx(
        (np.array(one.values) - one.base) / (one.target - one.base), rel=1e-4
    )
    assert last[["other", "random", "p", "p_holm"]].notna().all().all()
    assert last["share"].iloc[0] == pytest.approx(0, abs=1e-3), "the last token's embedding is the same in both forms"
    assert set(select(cells, window=2)["layer"]) == {0, 1}
    row = select(profiles, kind=TEXT_ONLY, direction="text_to_speech", positions="last", window=1).iloc[0]
    assert row["depth"] == 3 and row["skipped"] == 1 and row["note"] == f"{NO_OUTCOME}: 1"
    assert {record.source for record in records} == {"", PATCH, OTHER, "random"}


def test_a_question_alone_in_its_shard_takes_no_null_from_the_others(made, study, tmp_path):
    """It has no other question beside it; the test against another one's states then leaves it out, and says so."""
    alone = [
        record.model_copy(update={"id": "q9"})
        for record in made[0]
        if record.id == "q2" and record.source in (PATCH, "random")
    ]
    facts = {"model": "tiny-lora", "checkpoint": CHECKPOINT, "kept": 4, "n_layers": 3}
    paths = [tmp_path / "tiny" / f"{name}.patches.jsonl" for name in ("00-of-02", "01-of-02")]
    for path, records in zip(paths, (made[0], alone)):
        PATCHES.write(path, records, facts)
    compare_patches(paths, tmp_path / "cells.csv", tmp_path / "profiles.csv", draws=100, seed=7)
    where = {"kind": TEXT_ONLY, "direction": "text_to_speech", "positions": "last", "window": 1}
    cells = select(read_table(tmp_path / "cells.csv", "patching"), **where)
    assert set(cells["n"]) == {2} and cells[["other", "p", "other_kl"]].notna().all().all()
    [note] = select(read_table(tmp_path / "profiles.csv", "patching_profiles"), **where)["note"]
    assert "alone in its shard, so without a state of another question: 1" in note


def test_without_a_question_right_in_one_form_only_the_table_says_so(study, alignment, tmp_path):
    records, cells, profiles = run(study, alignment, tmp_path, IDS, IDS)
    assert records == [] and len(cells) == 0
    assert profiles["n"].tolist() == [0] and profiles["note"].tolist() == ["no question right in one form only"]


def test_a_model_that_cannot_be_edited_gets_a_row_that_says_so(study, alignment, tmp_path, monkeypatch):
    monkeypatch.setattr(CompositeSpeechLM, "shares_prompts", False)
    records, cells, profiles = run(study, alignment, tmp_path, ("q0",), ())
    assert records == [] and len(cells) == 0 and profiles["note"].tolist() == [module.LEFT_OUT]


def test_all_questions_can_be_patched_whichever_is_right(study, alignment, tmp_path):
    records, cells, _ = run(
        study, alignment, tmp_path, (), (), select="all", questions=3, positions=["last"], layers=[2], windows=[1]
    )
    assert {record.id for record in records} == {"q0", "q2", "q3"} and set(cells["n"]) == {2}


def test_partners_are_neighbours_in_length():
    assert like_length([5, 9, 6, 30]) == [2, 3, 1, 1] and like_length([4]) is None
