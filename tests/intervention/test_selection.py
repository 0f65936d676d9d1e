"""Which frames are edited: vote of the layers, lowest distinct frames, all frames."""

import numpy as np
import pytest

from workflow_scripts.intervention.selection import select_targets
from workflow_scripts.settings.analysis import InterventionOperation

# Layer 0 disagrees everywhere and must not count; layers 1..3 vote. Tokens 0 and 4 share frame 2.
I_STAR = np.array([[9, 9, 9, 9, 9], [2, 4, 6, 8, 2], [2, 4, 6, 7, 2], [2, 5, 6, 8, 2]], dtype=np.int32)
SCORES = np.array([[0.0] * 5, [0.9, 0.2, 0.5, 0.7, 0.1], [0.9, 0.2, 0.5, 0.7, 0.1], [0.9, 0.2, 0.5, 0.7, 0.1]])


def test_all_edits_every_distinct_frame_with_its_best_token():
    found = select_targets(InterventionOperation(operation="angle", selection="all"), I_STAR, SCORES)
    assert found.frames.tolist() == [2, 4, 6, 8]
    assert found.tokens.tolist() == [0, 1, 2, 3]


def test_bottom_takes_the_frames_with_the_lowest_layer_mean_cosine():
    """Token 4 scores lowest, but its frame 2 is also that of token 0, the best: it is not among the bottom two."""
    found = select_targets(InterventionOperation(operation="angle", selection="bottom", k=2), I_STAR, SCORES)
    assert found.frames.tolist() == [4, 6] and found.tokens.tolist() == [1, 2]
    assert not found.exhausted


def test_bottom_with_more_than_the_path_has_takes_all_and_says_so():
    found = select_targets(InterventionOperation(operation="angle", selection="bottom", k=9), I_STAR, SCORES)
    assert sorted(found.frames.tolist()) == [2, 4, 6, 8] and found.exhausted


def test_bottom_without_k_is_refused():
    with pytest.raises(ValueError, match="needs k"):
        select_targets(InterventionOperation(operation="angle", selection="bottom"), I_STAR, SCORES)
