"""Edited answers of a tiny model, end to end: the no-op is bit-equal, edits reach the model, inputs must fit."""

import dataclasses

import pytest
import torch

from tests.intervention.conftest import SHARD, align
from tests.public_study import entry, save_tiny
from tests.tiny_study import write_tiny_study
from workflow_scripts.artifacts.answers import EDITED_ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements, write_measurements
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.intervention import answer_grid as module
from workflow_scripts.intervention import edit_answers
from workflow_scripts.speech_lm.families import hf_folder
from workflow_scripts.speech_lm.opening.open_model import ModelSource
from workflow_scripts.speech_lm.protocol import Answer, Edit, SpeechLMError
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard

IDS = ("q0", "q2", "q3", "q4")
OPERATIONS = {
    "none": {"operation": "none"},
    "no_op": {"operation": "no_op"},
    "angle_bottom3": {"operation": "angle", "selection": "bottom", "k": 3},
    "angle_all": {"operation": "angle"},
    "length_all": {"operation": "length"},
    "length_two": {"operation": "length", "layer": [0, 2]},
    "angle_every": {"operation": "angle", "layer": "all"},
    "angle_again": {"operation": "angle", "selection": "bottom", "k": 2, "layer": "all_recomputed"},
    "mean": {"operation": "mean_length", "path": "best", "metric": "euclidean"},
    "warped": {"operation": "slerp", "weight": 0.5, "path": "dtw"},
    "zero": {"operation": "replace", "path": 0},
    "forced": {"operation": "angle", "path": "forced_alignment"},
    "noisy": {"operation": "noise", "weight": 0.5, "selection": "random", "k": 2},
    "angle_all_random_direction": {"control": "random_direction", "of": "angle_all"},
    "angle_all_other_token": {"control": "other_token", "of": "angle_all"},
    "angle_all_other_question": {"control": "other_question", "of": "angle_all"},
    "angle_bottom3_random_frames": {"control": "random_frames", "of": "angle_bottom3"},
    "angle_top3": {"control": "top_selection", "of": "angle_bottom3"},
    "length_two_random_shift": {"control": "random_shift", "of": "length_two"},
    "angle_every_random_direction": {"control": "random_direction", "of": "angle_every"},
    "oracle": {"operation": "oracle_transcript"},
}
SWEPT = ("length_two", "length_two_random_shift")
KEYS = [key for name in OPERATIONS for key in ([f"{name}@0", f"{name}@2"] if name in SWEPT else [name])]
PLAIN = ("none", "text", "oracle")


@pytest.fixture(scope="module")
def edited(run_edits, tmp_path_factory):
    return run_edits(tmp_path_factory.mktemp("edited") / "answers.jsonl", OPERATIONS)


def test_there_is_one_answer_per_kept_question_and_cell(edited):
    rows, facts = edited
    assert list(rows) == [(name, edit) for name in IDS for edit in ["none", "text", *KEYS[1:]]]
    assert {row.form for (_, edit), row in rows.items() if edit != "text"} == {"speech"}
    assert facts["dropped"] == ["q1"] and facts["model"] == "tiny-lora" and facts["decoding"] == "greedy"
    assert set(facts["cells"]) == set(KEYS) - {"none"}
    assert facts["cells"]["length_two_random_shift@2"]["of"] == "length_two@2"
    assert facts["cells"]["length_two@2"]["layer"] == 2 and facts["cells"]["angle_every"]["layer"] == "all"


@pytest.mark.parametrize(("layer", "dtype"), [(0, "auto"), (2, "float32")])
def test_the_no_op_edit_is_bit_equal_in_answers_losses_and_probabilities(run_edits, tmp_path, layer, dtype):
    operations = {name: OPERATIONS[name] for name in ("none", "no_op", "angle_all")}
    rows, _ = run_edits(tmp_path / "answers.jsonl", operations, layer, dtype=dtype)
    for name in IDS:
        plain, no_op = rows[name, "none"], rows[name, "no_op"]
        assert no_op.n_edited > 0 and plain.n_edited == 0
        same = ("token_ids", "reference_nll", "kl_first")
        assert [getattr(plain, field) for field in same] == [getattr(no_op, field) for field in same]


def test_edits_change_what_the_model_computes(edited):
    rows, facts = edited
    for key in KEYS:
        if key not in ("none", "no_op"):
            assert rows["q0", key].reference_nll != rows["q0", "none"].reference_nll, key
        if key not in (*PLAIN, "no_op"):
            assert facts["cells"][key]["mean_shift"] > 0
    assert facts["cells"]["no_op"]["mean_shift"] == 0


def test_kl_is_zero_for_the_text_itself_and_positive_for_speech(edited):
    rows, _ = edited
    assert all(row.kl_first == 0 for (_, edit), row in rows.items() if edit == "text")
    assert all(row.kl_first > 0 for (_, edit), row in rows.items() if edit != "text")


def test_bottom_edits_k_frames_and_all_edits_every_distinct_frame_of_the_path(edited, alignment):
    rows, facts = edited
    aligned = read_measurements(alignment, ALIGNMENT)
    for name in aligned.ids:
        assert rows[name, "angle_bottom3"].n_edited == 3
        assert 3 < rows[name, "angle_all"].n_edited <= aligned.T_s[aligned.ids.index(name)]
        assert rows[name, "angle_all"].n_edited == rows[name, "length_all"].n_edited
        assert rows[name, "angle_all"].frames == rows[name, "no_op"].frames
    total = sum(row.n_edited for (_, edit), row in rows.items() if edit == "angle_all")
    assert facts["cells"]["angle_all"]["edited"] == total and facts["cells"]["angle_all"]["zero_vectors"] == 0


def test_the_forced_path_edits_the_frames_where_the_words_are_spoken(edited, alignment):
    rows, facts = edited
    aligned = read_measurements(alignment, ALIGNMENT)
    assert facts["cells"]["forced"]["path"] == "forced_alignment" and facts["cells"]["forced"]["unedited"] == {}
    for name in IDS:
        row, spoken = rows[name, "forced"], aligned.words["frame"][aligned.ids.index(name)]
        assert row.frames == spoken[row.tokens].tolist()
        assert set(row.frames) == set(spoken[spoken >= 0].tolist())
        assert row.frames == sorted(row.frames), "words are spoken in order"


def test_a_question_without_word_times_is_left_unedited_on_the_forced_path_and_counted(study, run_edits, tmp_path):
    operations = {name: OPERATIONS[name] for name in ("none", "forced")}
    rows, facts = run_edits(tmp_path / "a.jsonl", operations, alignment=align(study, tmp_path, untimed=["q2"]))
    assert rows["q2", "forced"].skipped == "no text token with a known time"
    assert rows["q2", "forced"].token_ids == rows["q2", "none"].token_ids
    assert facts["cells"]["forced"]["unedited"] == {rows["q2", "forced"].skipped: 1}
    assert rows["q0", "forced"].n_edited > 0


def test_controls_match_their_edit_in_positions_and_size_of_change(edited):
    rows, _ = edited
    for name in IDS:
        edit = rows[name, "angle_all"]
        for control in ("random_direction", "other_token", "other_question"):
            own = rows[name, f"angle_all_{control}"]
            assert own.frames == edit.frames
            assert own.shifts == pytest.approx(edit.shifts, rel=1e-4)
        for layer in (0, 2):
            shifted, length = rows[name, f"length_two_random_shift@{layer}"], rows[name, f"length_two@{layer}"]
            assert shifted.frames == length.frames and shifted.shifts == pytest.approx(length.shifts, rel=1e-4)
        moved, bottom = rows[name, "angle_bottom3_random_frames"], rows[name, "angle_bottom3"]
        assert moved.tokens == bottom.tokens and len(set(moved.frames)) == 3
        assert len(rows[name, "angle_top3"].frames) == 3


def test_reference_losses_are_there_exactly_where_a_question_has_a_reference(edited):
    rows, _ = edited
    for (name, _), row in rows.items():
        assert (row.reference_nll is not None) == (name != "q3")
        assert (row.reference_tokens > 0) == (name != "q3")


def test_the_unedited_and_the_written_answers_are_those_of_the_model_asked_plainly(study, edited):
    rows, _ = edited
    lm = study.load()
    asked = read_spoken_shard(study.questions, study.manifest, study.features, SHARD, 7)
    for edit, encode in (("none", asked.spoken), ("text", asked.written)):
        for number, name in enumerate(asked.ids):
            [answer] = lm.generate([encode(lm, number)], max_new_tokens=8)
            assert rows[name, edit].token_ids == list(answer.token_ids)


def test_single_and_batch_agree_for_every_cell(run_edits, edited, tmp_path):
    rows, _ = edited
    again, _ = run_edits(tmp_path / "answers.jsonl", OPERATIONS, batch_size=1)
    for key, row in again.items():
        assert (row.token_ids, row.frames) == (rows[key].token_ids, rows[key].frames)
        assert row.shifts == pytest.approx(rows[key].shifts, rel=1e-3)
        assert row.kl_first == pytest.approx(rows[key].kl_first, rel=1e-3, abs=1e-5)


def test_one_more_entry_leaves_the_others_as_they_are(run_edits, edited, tmp_path):
    rows, _ = edited
    few = {name: OPERATIONS[name] for name in ("none", "angle_all", "angle_all_random_direction", "noisy")}
    found, _ = run_edits(tmp_path / "few.jsonl", few)
    for key, row in found.items():
        assert (row.token_ids, row.frames, row.shifts) == (rows[key].token_ids, rows[key].frames, rows[key].shifts)


def test_a_killed_step_goes_on_behind_its_last_batch_with_the_same_file(run_edits, tmp_path, monkeypatch):
    some = {name: OPERATIONS[name] for name in ("none", "no_op", "angle_all", "noisy", "oracle")}
    rows, header = run_edits(tmp_path / "whole.jsonl", some, batch_size=1)
    answer_batch, calls = edit_answers.answer_batch, []

    def killed(*arguments):
        if len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(arguments[2])
        return answer_batch(*arguments)

    monkeypatch.setattr(edit_answers, "answer_batch", killed)
    limit = 3
    with pytest.raises(KeyboardInterrupt):
        run_edits(tmp_path / "killed.jsonl", some, batch_size=1)
    limit = 99
    again, again_header = run_edits(tmp_path / "killed.jsonl", some, batch_size=1)
    assert len(calls) == 4, "three before the kill, one after it"

    def seconds_aside(records):
        return {key: row.model_copy(update={"seconds": 0.0}) for key, row in records.items()}

    assert seconds_aside(again) == seconds_aside(rows)
    assert again_header["cells"] == header["cells"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.jsonl", "whole.jsonl"]


def test_a_no_op_that_changes_a_token_stops_the_step(run_edits, tmp_path, monkeypatch):
    unedited = module._unedited

    def tampered(*arguments):
        answers = unedited(*arguments)
        last = answers[-1].answer
        other = Answer(last.text, (*last.token_ids[:-1], last.token_ids[-1] + 1), last.finish_reason, last.seconds)
        return [*answers[:-1], dataclasses.replace(answers[-1], answer=other)]

    monkeypatch.setattr(module, "_unedited", tampered)
    with pytest.raises(SpeechLMError, match="'no_op' writes back the values it finds"):
        run_edits(tmp_path / "answers.jsonl", {name: OPERATIONS[name] for name in ("none", "no_op")})
    assert not (tmp_path / "answers.jsonl").exists()


def test_a_model_that_only_runs_as_a_whole_is_left_out_without_being_loaded(study, alignment, tmp_path, monkeypatch):
    weights = save_tiny(tmp_path / "weights")
    options = {"shard": SHARD, "max_new_tokens": 8, "evaluation": {}, "seed": 7}
    options["intervention"] = {"subset": "tiny", "layer": 0, "operations": OPERATIONS}
    public = study.inputs() | {"model": ModelSource(weights / "asset.json", "final", entry())}
    monkeypatch.setattr(hf_folder, "runs_from_embeddings", lambda _: False)
    monkeypatch.setattr(edit_answers, "open_model", lambda *_, **__: pytest.fail("loaded"))
    path = tmp_path / "answers.jsonl"
    partial = PartialBatches(path, "of this run")
    edit_answers.edit_answers(**public, alignment=alignment, answers=path, partial=partial, **options)
    rows, header = EDITED_ANSWERS.read_with_header(path)
    assert rows == [] and header["provenance"]["left_out"] == "it only runs as a whole"
    assert (header["provenance"]["model"], header["provenance"]["checkpoint"]) == ("tiny-public", "final")


def test_paths_of_other_weights_are_refused(run_edits, alignment, tmp_path):
    content = read_measurements(alignment, ALIGNMENT)
    other = dataclasses.replace(content, attributes={**content.attributes, "weights_sha256": "cd" * 32})
    write_measurements(tmp_path / "other.h5", ALIGNMENT, other)
    with pytest.raises(ArtifactError, match="weights_sha256 is 'cdcd"):
        run_edits(tmp_path / "answers.jsonl", OPERATIONS, alignment=tmp_path / "other.h5")


def test_paths_of_other_audio_or_outside_the_span_are_refused(run_edits, alignment, tmp_path):
    content = read_measurements(alignment, ALIGNMENT)
    write_measurements(tmp_path / "other.h5", ALIGNMENT, dataclasses.replace(content, T_s=content.T_s + 1))
    with pytest.raises(ArtifactError, match="made from other audio"):
        run_edits(tmp_path / "answers.jsonl", OPERATIONS, alignment=tmp_path / "other.h5")
    far = [frames + int(T_s) for frames, T_s in zip(content.paths["cosine"], content.T_s)]
    paths = {**content.paths, "cosine": far}
    write_measurements(tmp_path / "far.h5", ALIGNMENT, dataclasses.replace(content, paths=paths))
    with pytest.raises(ArtifactError, match=r"cosine path of question 'q0' has frames .*delete it"):
        run_edits(tmp_path / "answers.jsonl", OPERATIONS, alignment=tmp_path / "far.h5")


def test_a_layer_that_the_model_does_not_have_is_named(run_edits, tmp_path):
    with pytest.raises(SpeechLMError, match=r"intervention\.layer is 3.*0 \.\. 2"):
        run_edits(tmp_path / "answers.jsonl", OPERATIONS, layer=3)
    far = {"none": {"operation": "none"}, "far": {"operation": "angle", "layer": [1, 7]}}
    with pytest.raises(SpeechLMError, match=r"operations\.far\.layer is 7.*0 \.\. 2"):
        run_edits(tmp_path / "answers.jsonl", far)
    beyond = {"none": {"operation": "none"}, "beyond": {"operation": "angle", "path": 9}}
    with pytest.raises(ValueError, match=r"path 9: the paths are of layers \[0, 1, 2, 3\]"):
        run_edits(tmp_path / "answers.jsonl", beyond)


def test_edits_follow_the_paths_of_the_layers_that_were_kept(study, run_edits, tmp_path):
    """With layer 2 alone, the vote and the best layer are the path of layer 2."""
    baseline, angle = {"none": {"operation": "none"}}, {"operation": "angle", "selection": "bottom", "k": 2}
    kept = align(study, tmp_path, layers=[2])
    found, _ = run_edits(
        tmp_path / "kept.jsonl", baseline | {"vote": angle, "best": {**angle, "path": "best"}}, alignment=kept
    )
    whole, _ = run_edits(tmp_path / "whole.jsonl", baseline | {"second": {**angle, "path": 2}})
    names = {name for name, edit in whole if edit == "second"}
    for name in names:
        for edit in ("vote", "best"):
            expected = whole[name, "second"]
            assert (found[name, edit].frames, found[name, edit].token_ids) == (expected.frames, expected.token_ids)
    assert names and any(whole[name, "second"].frames for name in names)


def test_a_lone_question_has_no_other_to_take_from_and_is_counted(tmp_path, run_edits):
    study = write_tiny_study(tmp_path / "lone", n=1, dropped=())
    operations = {name: OPERATIONS[name] for name in ("none", "angle_all", "angle_all_other_question")}
    rows, facts = run_edits(tmp_path / "a.jsonl", operations, study=study, alignment=align(study, tmp_path))
    row = rows["q0", "angle_all_other_question"]
    assert row.skipped == "no other token or question to take from" and row.n_edited == 0
    assert row.token_ids == rows["q0", "none"].token_ids
    assert facts["cells"]["angle_all_other_question"]["unedited"] == {row.skipped: 1}


def test_k_larger_than_the_path_edits_all_of_it_and_is_counted(run_edits, tmp_path):
    operations = {**{n: OPERATIONS[n] for n in ("none", "angle_all")}, "k": {"operation": "angle", "selection": "top"}}
    operations["k"]["k"] = 999
    rows, facts = run_edits(tmp_path / "answers.jsonl", operations)
    assert facts["cells"]["k"]["exhausted"] == 4 and facts["cells"]["angle_all"]["exhausted"] == 0
    for name in IDS:
        assert sorted(rows[name, "k"].frames) == sorted(rows[name, "angle_all"].frames)
        assert rows[name, "k"].token_ids == rows[name, "angle_all"].token_ids


def test_an_angle_edit_puts_the_text_direction_at_the_chosen_speech_positions(study, alignment, run_edits, tmp_path):
    """Read back at the edited layer: cosine 1 with the text partner, the speech vector's length, others as before."""
    operations = {"none": {"operation": "none"}, "a": {"operation": "angle", "selection": "bottom", "k": 2}}
    rows, _ = run_edits(tmp_path / "answers.jsonl", operations, layer=1)
    lm = study.load()
    asked = read_spoken_shard(study.questions, study.manifest, study.features, SHARD, 7)
    spoken, written = asked.spoken(lm, 0), asked.written(lm, 0)
    before, text = lm.states([spoken])[0], lm.states([written])[0][1]
    frames, tokens = torch.tensor(rows["q0", "a"].frames), torch.tensor(rows["q0", "a"].tokens)
    values = text[tokens] * (before[1, frames].norm(dim=1) / text[tokens].norm(dim=1))[:, None]
    edit = Edit(1, spoken.span[0] + frames, values)
    after = lm.states([spoken], edits=[[edit]])[0]
    cosine = torch.nn.functional.cosine_similarity(after[1, frames], text[tokens])
    torch.testing.assert_close(cosine, torch.ones(2))
    assert rows["q0", "a"].shifts == pytest.approx((values - before[1, frames]).norm(dim=1).tolist(), rel=1e-4)
    [cost] = lm.answer_loss([spoken], ["the river"], edits=[[edit]])
    assert rows["q0", "a"].reference_nll == pytest.approx(cost.nll, rel=1e-4)
    # States below the layer, and at and above it before the first edited position, are untouched.
    assert torch.equal(after[0], before[0])
    first = int(frames.min())
    torch.testing.assert_close(after[:, :first], before[:, :first])
    assert not torch.equal(after[2:, first:], before[2:, first:])
