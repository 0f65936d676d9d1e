"""Controls change vectors as much as the edit does, towards something else."""

import numpy as np
import pytest
import torch

from workflow_scripts.intervention.controls import (
    Surroundings,
    make_vectors,
    other_tokens,
    tokens_of_another,
    turned_alike,
)
from workflow_scripts.intervention.measured_paths import partners
from workflow_scripts.settings.intervention import InterventionOperation, InterventionSettings


def vectors(seed, n=6, d=32, scale=1.0):
    return scale * torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def around(**values):
    return Surroundings(torch.Generator().manual_seed(3), **values)


SPEECH, TEXT, DONOR = vectors(0), vectors(1, scale=4.0), vectors(2)


@pytest.mark.parametrize("operation", ["angle", "partial_angle", "slerp", "orthogonal", "replace"])
@pytest.mark.parametrize("control", ["random_direction", "other_token", "other_question"])
def test_turning_controls_have_the_edits_length_angle_and_size_of_change(operation, control):
    entry = InterventionOperation(operation=operation, weight=0.5)
    edit = make_vectors(entry, None, SPEECH, TEXT, around())
    found = make_vectors(entry, control, SPEECH, TEXT, around(donors=DONOR))
    torch.testing.assert_close(found.shift, edit.shift)
    torch.testing.assert_close(found.values.norm(dim=1), edit.values.norm(dim=1))
    cosine = torch.nn.functional.cosine_similarity
    torch.testing.assert_close(cosine(found.values, SPEECH.double()), cosine(edit.values, SPEECH.double()))
    assert (cosine(found.values, edit.values) < 0.99).all()


def test_a_donor_pulls_towards_itself():
    entry = InterventionOperation(operation="angle")
    found = make_vectors(entry, "other_token", SPEECH, TEXT, around(donors=DONOR))
    cosine = torch.nn.functional.cosine_similarity
    assert (cosine(found.values, DONOR.double()) > 0.5).all()


@pytest.mark.parametrize("operation", ["length", "mean_length", "noise", "angle"])
def test_a_random_shift_is_as_long_as_the_edits(operation):
    entry = InterventionOperation(operation=operation)
    edit = make_vectors(entry, None, SPEECH, TEXT, around(mean_length=9.0))
    found = make_vectors(entry, "random_shift", SPEECH, TEXT, around(mean_length=9.0))
    torch.testing.assert_close(found.shift, edit.shift)


def test_the_length_of_another_token_keeps_the_direction():
    entry = InterventionOperation(operation="length")
    found = make_vectors(entry, "other_token", SPEECH, TEXT, around(donors=DONOR))
    torch.testing.assert_close(found.values.norm(dim=1), DONOR.double().norm(dim=1))
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(found.values, SPEECH.double()), torch.ones(6, dtype=torch.float64)
    )


def test_parallel_donors_give_no_plane_and_are_left_out():
    entry = InterventionOperation(operation="angle")
    donors = DONOR.clone()
    donors[2], donors[4] = 2 * SPEECH[2], 0
    found = make_vectors(entry, "other_token", SPEECH, TEXT, around(donors=donors))
    assert found.kept.tolist() == [0, 1, 3, 5] and torch.isfinite(found.values).all()
    assert torch.isnan(turned_alike(SPEECH[:1], TEXT[:1], SPEECH[:1])).all()


def test_donors_are_needed_where_a_control_takes_from_them():
    with pytest.raises(ValueError, match="needs the text vectors of other tokens"):
        make_vectors(InterventionOperation(operation="angle"), "other_token", SPEECH, TEXT, around())


def test_another_token_has_another_id_and_content_where_there_is_any():
    rng = np.random.default_rng(0)
    ids, texts = np.array([5, 6, 5, 7, 8]), ["water", " a", "water", " river", "?"]
    for _ in range(20):
        assert other_tokens(np.array([0, 2, 1]), ids, texts, rng)[:2].tolist() == [3, 3]
    assert other_tokens(np.array([0]), np.array([5, 5]), ["x", "x"], rng) is None
    assert other_tokens(np.array([0]), np.array([5, 6]), ["to", "?"], rng).tolist() == [1]


def test_a_token_of_another_question_stands_at_the_same_relative_place():
    assert tokens_of_another(np.array([0, 4, 9]), 10, 5).tolist() == [0, 2, 4]
    assert tokens_of_another(np.array([0, 1]), 2, 7).tolist() == [0, 3]


def test_every_question_has_another_partner_and_one_alone_has_none():
    for n in (2, 3, 10):
        found = partners(n, 1)
        assert sorted(found) == list(range(n)) and all(other != own for own, other in enumerate(found))
    assert partners(1, 1) is None


NONE = {"none": {"operation": "none"}}
EDITS = {
    "a": {"operation": "angle", "selection": "bottom", "k": 3},
    "l": {"operation": "length"},
    "n": {"operation": "noise"},
}


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"c": {"control": "random_direction", "of": "x"}}, "of 'x' is no edit of this grid"),
        ({"c": {"control": "random_direction", "of": "l"}}, "use random_shift"),
        ({"c": {"control": "top_selection", "of": "l"}}, "control of selection bottom"),
        ({"c": {"control": "other_token", "of": "n"}}, "takes nothing from a text token"),
        ({"c": {"control": "other_token"}}, "a control has the keys"),
        ({"c": {"control": "other_token", "of": "a", "k": 3}}, "a control has the keys"),
        ({"c": {"operation": "angle", "selection": "top"}}, "all and everywhere take no k, the others need one"),
        ({"c": {"operation": "angle", "k": 3}}, "take no k"),
        ({"c": {"operation": "slerp", "weight": 1.5}}, "at most 1"),
        ({"c": {"operation": "angle", "layer": []}}, "different layers"),
        ({"c": {"operation": "angle", "layer": "all_recomputed", "path": "dtw"}}, "finds its own path"),
        ({"c": {}}, "needs `operation`"),
        ({"text": {"operation": "angle"}}, "reserved"),
    ],
)
def test_entries_that_make_no_sense_are_refused_with_a_remedy(entries, message):
    with pytest.raises(ValueError, match=message):
        InterventionSettings(subset="nq", operations=NONE | EDITS | entries)


@pytest.mark.parametrize("decoding", ["beam", "sampling"])
def test_only_greedy_decoding_is_served_and_the_refusal_says_why(decoding):
    with pytest.raises(ValueError, match=r"edits act during prefill.*Use greedy"):
        InterventionSettings(subset="nq", operations=NONE, decoding=decoding)
