"""Edited answers of a tiny model, end to end: the no-op is bit-equal, edits reach the model, inputs must fit."""

import dataclasses

import pytest
import torch

from tests.tiny_study import CHECKPOINT, write_tiny_study
from workflow_scripts.activations.dump_states import dump_states
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.answers import EDITED_ANSWERS
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import ALIGNMENT, read_measurements, write_measurements
from workflow_scripts.intervention import edit_answers as module
from workflow_scripts.intervention.edit_answers import edit_answers
from workflow_scripts.intervention.question_edits import EditTally, build_edits
from workflow_scripts.intervention.selection import select_targets
from workflow_scripts.settings.analysis import InterventionOperation
from workflow_scripts.speech_lm.loading import load_speech_lm
from workflow_scripts.speech_lm.protocol import Answer, SpeechLMError
from workflow_scripts.speech_lm.spoken_shard import read_spoken_shard

OPERATIONS = {
    "none": {"operation": "none"},
    "no_op": {"operation": "no_op"},
    "angle_bottom3": {"operation": "angle", "selection": "bottom", "k": 3},
    "angle_all": {"operation": "angle"},
    "length_all": {"operation": "length"},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def alignment(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment")
    dump_states(
        **study.inputs(),
        states=folder / "states.h5",
        checkpoint=CHECKPOINT,
        shard="00-of-01",
        activations={},
        system_prompt=None,
        seed=7,
    )
    align_tokens(folder / "states.h5", folder / "alignment.h5", draws=2, seed=7, examples=0)
    return folder / "alignment.h5"


def run(study, alignment, path, layer=0, operations=OPERATIONS, batch_size=3):
    edit_answers(
        **study.inputs(),
        alignment=alignment,
        answers=path,
        checkpoint=CHECKPOINT,
        shard="00-of-01",
        max_new_tokens=8,
        intervention={"subset": "tiny", "layer": layer, "operations": operations},
        evaluation={"batch_size": batch_size},
        system_prompt=None,
        seed=7,
    )
    rows, header = EDITED_ANSWERS.read_with_header(path)
    return {(row.id, row.edit): row for row in rows}, header["provenance"]


@pytest.fixture(scope="module")
def edited(study, alignment, tmp_path_factory):
    return run(study, alignment, tmp_path_factory.mktemp("edited") / "answers.jsonl")


def test_there_is_one_spoken_answer_per_kept_question_and_operation(edited):
    rows, facts = edited
    assert list(rows) == [(name, edit) for name in ("q0", "q2", "q3", "q4") for edit in OPERATIONS]
    assert {row.form for row in rows.values()} == {"speech"}
    assert facts["dropped"] == ["q1"] and facts["model"] == "tiny-lora" and facts["decoding"] == "greedy"


@pytest.mark.parametrize("layer", [0, 2])
def test_the_no_op_edit_is_bit_equal_in_answers_and_losses(study, alignment, tmp_path, layer):
    rows, _ = run(study, alignment, tmp_path / "answers.jsonl", layer)
    for name in ("q0", "q2", "q3", "q4"):
        plain, no_op = rows[name, "none"], rows[name, "no_op"]
        assert no_op.n_edited > 0 and plain.n_edited == 0
        assert (plain.token_ids, plain.reference_nll) == (no_op.token_ids, no_op.reference_nll)


def test_edits_change_what_the_model_computes(edited):
    rows, facts = edited
    for edit in ("angle_bottom3", "angle_all", "length_all"):
        assert rows["q0", edit].reference_nll != rows["q0", "none"].reference_nll
        assert facts["edits"][edit]["mean_shift"] > 0
    assert facts["edits"]["no_op"]["mean_shift"] == 0


def test_bottom_edits_k_frames_and_all_edits_every_distinct_frame_of_the_path(edited, alignment):
    rows, facts = edited
    aligned = read_measurements(alignment, ALIGNMENT)
    for name in aligned.ids:
        assert rows[name, "angle_bottom3"].n_edited == 3
        assert 3 < rows[name, "angle_all"].n_edited <= aligned.T_s[aligned.ids.index(name)]
        assert rows[name, "angle_all"].n_edited == rows[name, "length_all"].n_edited
    total = sum(row.n_edited for (_, edit), row in rows.items() if edit == "angle_all")
    assert facts["edits"]["angle_all"]["edited"] == total and facts["edits"]["angle_all"]["zero_vectors"] == 0


def test_reference_losses_are_there_exactly_where_a_question_has_a_reference(edited):
    rows, _ = edited
    for (name, _), row in rows.items():
        assert (row.reference_nll is not None) == (name != "q3")
        assert (row.reference_tokens > 0) == (name != "q3")


def test_the_unedited_answers_are_those_of_the_model_asked_plainly(study, edited):
    rows, _ = edited

    lm = load_speech_lm(backbone=study.backbone.parent, checkpoint=study.model.parent / CHECKPOINT, encoder=None)
    asked = read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)
    longest_first = sorted(range(4), key=lambda number: -asked.spoken(lm, number).length)
    for group in (longest_first[:3], longest_first[3:]):
        answers = lm.generate([asked.spoken(lm, number) for number in group], max_new_tokens=8)
        for number, answer in zip(group, answers):
            assert rows[asked.ids[number], "none"].token_ids == list(answer.token_ids)


def test_a_no_op_that_changes_a_token_stops_the_step(study, alignment, tmp_path, monkeypatch):
    answer_plainly = module._answer

    def tampered(lm, queries, references, edits, max_new_tokens):
        batch = answer_plainly(lm, queries, references, edits, max_new_tokens)
        if edits is None:
            return batch
        last = batch.answers[-1]
        other = Answer(last.text, (*last.token_ids[:-1], last.token_ids[-1] + 1), last.finish_reason, last.seconds)
        return dataclasses.replace(batch, answers=[*batch.answers[:-1], other])

    monkeypatch.setattr(module, "_answer", tampered)
    with pytest.raises(SpeechLMError, match="'no_op' writes back the values it finds"):
        run(study, alignment, tmp_path / "answers.jsonl")
    assert not (tmp_path / "answers.jsonl").exists()


def test_paths_of_other_weights_are_refused(study, alignment, tmp_path):
    content = read_measurements(alignment, ALIGNMENT)
    other = dataclasses.replace(content, attributes={**content.attributes, "weights_sha256": "cd" * 32})
    write_measurements(tmp_path / "other.h5", ALIGNMENT, other)
    with pytest.raises(ArtifactError, match="weights_sha256 is 'cdcd"):
        run(study, tmp_path / "other.h5", tmp_path / "answers.jsonl")


def test_paths_of_other_audio_are_refused(study, alignment, tmp_path):
    content = read_measurements(alignment, ALIGNMENT)
    write_measurements(tmp_path / "other.h5", ALIGNMENT, dataclasses.replace(content, T_s=content.T_s + 1))
    with pytest.raises(ArtifactError, match="made from other audio"):
        run(study, tmp_path / "other.h5", tmp_path / "answers.jsonl")


def test_a_layer_that_the_model_does_not_have_is_named(study, alignment, tmp_path):
    with pytest.raises(SpeechLMError, match=r"intervention\.layer is 3.*0 \.\. 2"):
        run(study, alignment, tmp_path / "answers.jsonl", layer=3)


def test_an_angle_edit_puts_the_text_direction_at_the_chosen_speech_positions(study, alignment):
    """Read back at the edited layer: cosine 1 with the text partner, the speech vector's length, others as before."""

    lm = study.load()
    asked = read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)
    aligned = read_measurements(alignment, ALIGNMENT)
    operation = InterventionOperation(operation="angle", selection="bottom", k=2)
    targets = select_targets(operation, aligned.paths["cosine"][0], aligned.scores["cosine"][0])
    spoken, written = asked.spoken(lm, 0), asked.written(lm, 0)
    before, text = lm.states([spoken])[0][1], lm.states([written])[0][1]
    tally = EditTally()
    edits = build_edits(operation, 1, [spoken], [targets], [before], [text], tally)
    after = lm.states([spoken], edits=edits)[0][1]
    frames, tokens = torch.from_numpy(targets.frames).long(), torch.from_numpy(targets.tokens).long()
    cosine = torch.nn.functional.cosine_similarity(after[frames], text[tokens])
    torch.testing.assert_close(cosine, torch.ones(2))
    torch.testing.assert_close(after[frames].norm(dim=1), before[frames].norm(dim=1))
    untouched = [frame for frame in range(len(before)) if frame not in targets.frames]
    assert torch.equal(after[untouched], before[untouched])
    assert tally.edited == 2
