"""Words are erased by what other questions tell of them; where nothing can be fitted, nothing is edited."""

import numpy as np
import pytest

from tests.intervention.conftest import SHARD, align
from tests.tiny_study import write_tiny_study
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements
from workflow_scripts.intervention.erasure import (
    FOLDS,
    NOTHING_TO_ERASE,
    TOO_FEW,
    Words,
    fit_erasure,
    question_parts,
)
from workflow_scripts.intervention.grid import grid_cells
from workflow_scripts.intervention.measured_paths import shard_context, words_at_layer
from workflow_scripts.settings.intervention import InterventionOperation, InterventionSettings
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard

D, K = 24, 6


def made(n=30, signal=1.0, seed=0, m=10):
    """Questions of m positions whose speech vectors hold the words' vectors linearly, beside as much else."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((K, D))
    found = {}
    for number in range(n):
        words = rng.standard_normal((m, K)) * [3, 2, 1, 1, 1, 1]
        found[f"q{number}"] = Words(signal * words @ mixed + 3 * rng.standard_normal((m, D)) + 4, words)
    return found


def r2(erasure, random=False):
    spread, before, after = np.sum([one.readings(random) for one in erasure.of.values()], axis=0)
    return 1 - before / spread, 1 - after / spread


def test_words_can_be_read_before_and_not_after_and_still_without_a_random_subspace():
    erasure = fit_erasure(made(n=90), rank=2, seed=7)
    before, after = r2(erasure)
    assert before > 0.6 and after < 0.1
    assert r2(erasure, random=True)[0] == before and r2(erasure, random=True)[1] > 0.5
    assert erasure.positions == 900 and 0.6 < erasure.share < 0.9
    assert all(one.concept.rank == one.random.rank == 2 for one in erasure.of.values())


def test_of_speech_that_does_not_hold_the_words_nothing_is_read():
    found = [r2(fit_erasure(made(signal=0.0, seed=seed), rank=2, seed=seed)) for seed in range(10)]
    assert np.mean([before for before, _ in found]) < 0.02
    assert np.mean([after for _, after in found]) < 0.02


def test_no_question_has_a_say_in_its_own_eraser():
    questions = made()
    other = questions | {"q3": Words(1e3 * questions["q3"].speech[::-1], -questions["q3"].words)}
    one, two = fit_erasure(questions, 2, 7).of, fit_erasure(other, 2, 7).of
    folds = question_parts(30, FOLDS, 7)
    for number in range(30):
        same = np.array_equal(one[f"q{number}"].concept.read, two[f"q{number}"].concept.read)
        assert same == (folds[number] == folds[3])


def test_folds_are_even_and_follow_the_seed():
    assert sorted(np.bincount(question_parts(23, FOLDS, 1), minlength=FOLDS)) == [4, 4, 5, 5, 5]
    assert np.array_equal(question_parts(23, FOLDS, 1), question_parts(23, FOLDS, 1))
    assert not np.array_equal(question_parts(23, FOLDS, 1), question_parts(23, FOLDS, 2))
    one, two = (fit_erasure(made(), 2, 7).of["q0"] for _ in range(2))
    assert np.array_equal(one.random.write, two.random.write) and one.errors == two.errors


@pytest.mark.parametrize(
    ("questions", "rank", "why"),
    [
        (made(n=1), 1, TOO_FEW),
        (made(n=5), 11, TOO_FEW),
        ({name: Words(one.speech, np.ones((10, K))) for name, one in made().items()}, 2, NOTHING_TO_ERASE),
        ({name: Words(np.ones((10, D)), one.words) for name, one in made().items()}, 2, NOTHING_TO_ERASE),
        ({"q0": Words(np.empty((0, D)), np.empty((0, K)))}, 2, TOO_FEW),
    ],
)
def test_where_nothing_can_be_fitted_the_reason_is_given(questions, rank, why):
    erasure = fit_erasure(questions, rank, 7)
    assert {one.why for one in erasure.of.values()} == {why}
    assert erasure.share is None and all(one.readings(False) is None for one in erasure.of.values())


def test_questions_of_one_or_no_position_are_served_by_the_others():
    questions = made() | {"one": made(n=1, m=1)["q0"], "none": Words(np.empty((0, D)), np.empty((0, K)))}
    found = fit_erasure(questions, 2, 7).of
    assert found["one"].concept.rank == 2 and found["one"].readings(False)[0] > 0
    assert found["none"].concept.rank == 2 and found["none"].readings(False) is None


NONE = {"none": {"operation": "none"}}
ERASE = {"operation": "erase", "rank": 2}
OPERATIONS = NONE | {
    "no_op": {"operation": "no_op"},
    "erase": ERASE,
    "erase_random_subspace": {"control": "random_subspace", "of": "erase"},
    "erase_two": ERASE | {"layer": [0, 2], "erased": "state", "selection": "bottom", "k": 2},
    "erase_two_random_subspace": {"control": "random_subspace", "of": "erase_two"},
    "erase_random_frames": {"control": "random_frames", "of": "erase"},
    "erase_random_shift": {"control": "random_shift", "of": "erase"},
    "erase_whole": ERASE | {"selection": "everywhere"},
    "wide": ERASE | {"rank": 999},
}
IDS = ("q0", "q2", "q3", "q4")


@pytest.fixture(scope="module")
def edited(run_edits, tmp_path_factory):
    return run_edits(tmp_path_factory.mktemp("erased") / "answers.jsonl", OPERATIONS, layer=1)


def test_erasures_reach_the_model_and_say_what_could_be_read(edited):
    rows, facts = edited
    for key in ("erase", "erase_random_subspace", "erase_two@0", "erase_two_random_subspace@2"):
        cell = facts["cells"][key]
        assert cell["rank"] == 2 and cell["mean_shift"] > 0 and cell["unedited"] == {}
        assert cell["fit_positions"] > 8 and 0 < cell["words_share"] <= 1
        for name in IDS:
            row = rows[name, key]
            assert row.reference_nll != rows[name, "none"].reference_nll or row.reference_nll is None
            assert row.words_spread > 0 and row.words_error_before > 0 and row.words_error_after > 0
    assert rows["q0", "erase_random_frames"].words_spread is None
    assert facts["cells"]["erase"]["erased"] == "embedding" and "rank" not in facts["cells"]["no_op"]


def test_the_random_subspace_changes_the_same_frames_about_as_much(edited):
    rows, facts = edited
    for name in IDS:
        assert rows[name, "erase_random_subspace"].frames == rows[name, "erase"].frames
        assert rows[name, "erase_random_shift"].shifts == pytest.approx(rows[name, "erase"].shifts, rel=1e-3)
    # Matched in the mean over the questions of the fit, not over these.
    ratio = facts["cells"]["erase_random_subspace"]["mean_shift"] / facts["cells"]["erase"]["mean_shift"]
    assert 0.5 < ratio < 2


def test_a_rank_for_which_there_are_too_few_positions_edits_nothing_and_is_counted(edited):
    rows, facts = edited
    assert facts["cells"]["wide"]["unedited"] == {TOO_FEW: 4} and facts["cells"]["wide"]["words_share"] is None
    for name in IDS:
        assert rows[name, "wide"].token_ids == rows[name, "none"].token_ids and rows[name, "wide"].n_edited == 0


def test_single_and_batch_agree(run_edits, edited, tmp_path):
    rows, _ = edited
    again, _ = run_edits(tmp_path / "answers.jsonl", OPERATIONS, layer=1, batch_size=1)
    for key, row in again.items():
        assert (row.token_ids, row.frames) == (rows[key].token_ids, rows[key].frames)
        assert row.shifts == pytest.approx(rows[key].shifts, rel=1e-3)


def test_what_is_written_is_the_speech_vector_without_the_words_of_the_other_questions(study, alignment, edited):
    rows, _ = edited
    lm = study.load()
    asked = read_spoken_shard(study.questions, study.manifest, study.features, SHARD, 7)
    settings = InterventionSettings(subset="tiny", layer=1, operations=OPERATIONS)
    context = shard_context(lm, asked, read_measurements(alignment, ALIGNMENT), grid_cells(settings, 3, "tiny"), 7)
    for number, name in enumerate(IDS):
        before = lm.states([asked.spoken(lm, number)])[0][1].double().numpy()
        erasure = context.erasures["erase"].of[name]
        for key, eraser in (("erase", erasure.concept), ("erase_random_subspace", erasure.random)):
            removed = np.linalg.norm(eraser.removed(before[rows[name, key].frames]), axis=1)
            assert rows[name, key].shifts == pytest.approx(removed.tolist(), rel=1e-3)
        assert rows[name, "erase_whole"].frames == list(range(len(before)))


def test_words_are_taken_at_the_frames_of_the_path_from_the_layer_asked_for(study, alignment):
    lm = study.load()
    asked = read_spoken_shard(study.questions, study.manifest, study.features, SHARD, 7)
    settings = InterventionSettings(subset="tiny", layer=1, operations=OPERATIONS)
    aligned = read_measurements(alignment, ALIGNMENT)
    context = shard_context(lm, asked, aligned, grid_cells(settings, 3, "tiny"), 7)
    assert set(context.erasures) == {"erase", "erase_two@0", "erase_two@2", "erase_whole", "wide"}
    assert context.erasures["erase_whole"] is context.erasures["erase"]
    spoken, written = lm.states([asked.spoken(lm, 0)])[0], lm.states([asked.written(lm, 0)])[0]
    for erased, layer in (("embedding", 0), ("state", 2)):
        entry = InterventionOperation(operation="erase", erased=erased, path=1, selection="bottom", k=1)
        words = words_at_layer(lm, asked, context, entry, 2)["q0"]
        path = aligned.paths["cosine"][0][1]
        for vector, meant in zip(words.speech, words.words):
            [frame] = np.flatnonzero(np.abs(spoken[2].double().numpy() - vector).max(axis=1) < 1e-5)
            tokens = np.flatnonzero(np.abs(written[layer].double().numpy() - meant).max(axis=1) < 1e-5)
            assert set(tokens) & set(np.flatnonzero(path == frame))
        assert len(words.speech) == len(set(path.tolist()))


def test_a_lone_question_has_no_other_to_fit_on_and_is_counted(tmp_path, run_edits):
    lone = write_tiny_study(tmp_path / "lone", n=1, dropped=())
    operations = {name: OPERATIONS[name] for name in ("none", "erase", "erase_random_subspace")}
    rows, facts = run_edits(tmp_path / "a.jsonl", operations, study=lone, alignment=align(lone, tmp_path))
    for key in ("erase", "erase_random_subspace"):
        assert rows["q0", key].skipped == TOO_FEW and facts["cells"][key]["unedited"] == {TOO_FEW: 1}
        assert rows["q0", key].token_ids == rows["q0", "none"].token_ids


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"e": ERASE | {"layer": "all"}}, "erase is fitted to the states of one layer"),
        ({"e": ERASE | {"layer": "all_recomputed"}}, "name it, give a list, or sweep"),
        ({"a": {"operation": "angle", "rank": 3}}, r"\['rank'\] belong\(s\) to operation erase, not to angle"),
        ({"e": {"operation": "angle", "selection": "everywhere", "k": 2}}, "all and everywhere take no k"),
        (
            {"e": ERASE | {"selection": "everywhere"}, "c": {"control": "random_frames", "of": "e"}},
            "e edits every frame, so there are no others",
        ),
        ({"e": ERASE | {"rank": 0}}, "greater than 0"),
        ({"e": ERASE, "c": {"control": "random_direction", "of": "e"}}, r"no control of e \(erase\); use random_subsp"),
        ({"e": ERASE, "c": {"control": "other_token", "of": "e"}}, "use random_subspace"),
        (
            {"a": {"operation": "angle"}, "c": {"control": "random_subspace", "of": "a"}},
            r"random_subspace is no control of a \(angle\); it is a control of erase",
        ),
    ],
)
def test_entries_that_make_no_sense_are_refused_with_a_remedy(entries, message):
    with pytest.raises(ValueError, match=message):
        InterventionSettings(subset="nq", operations=NONE | entries)
