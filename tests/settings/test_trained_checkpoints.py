"""An entry of family `checkpoints` must fit what its folder says of the training."""

import re

import pytest

from tests.made_checkpoints import write_index
from workflow_scripts.settings.families.composite import CheckpointsModel, unlike_training


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"strategy": "adapter"}, [("strategy", "'adapter', but .* is of a training with 'lora'; write lora")]),
        ({"steps": [10, 30]}, [("steps", r"\[30\] are not in .*; it has \[10, 20\]")]),
    ],
)
def test_an_entry_that_contradicts_the_training_of_its_checkpoints_is_refused(tmp_path, changes, expected):
    """A wrong `adapter` would take the untuned model's written answers for those of the tuned one."""
    entry = {"family": "checkpoints", "folder": "x", "steps": [20], "backbone": "lm", "encoder": "whisper"}
    model = CheckpointsModel.model_validate(entry | {"strategy": "lora", "warmup": "ctc"} | changes)
    found = list(unlike_training(model, write_index(tmp_path, [10, 20], "lora")))
    assert len(found) == len(expected)
    for (field, text), (where, pattern) in zip(found, expected):
        assert field == where and re.match(pattern, text)
    # Converted checkpoints say nothing of their training.
    found = list(unlike_training(model, write_index(tmp_path, [10, 20], None)))
    assert [field for field, _ in found] == [field for field, _ in expected if field == "steps"]


def test_a_folder_whose_index_is_damaged_is_named(tmp_path):
    model = CheckpointsModel(
        family="checkpoints", folder="x", steps=[1], backbone="lm", encoder="e", strategy="lora", warmup="ctc"
    )
    (tmp_path / "checkpoints.json").write_text("{")
    [(field, text)] = unlike_training(model, tmp_path / "checkpoints.json")
    assert field == "folder" and "checkpoints.json" in text
