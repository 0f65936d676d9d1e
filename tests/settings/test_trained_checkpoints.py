"""An entry of family `checkpoints` must fit what its folder says of the training."""

import json
import re

import pytest

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
    kept = [{"name": f"step-0000{step}", "step": step, "sha256": ""} for step in (10, 20)]
    content = {"schema": "checkpoints/1", "model": "m", "checkpoints": kept}
    index = tmp_path / "checkpoints.json"
    index.write_text(json.dumps(content | {"provenance": {"settings": {"model": {"strategy": "lora"}}}}))
    found = list(unlike_training(model, index))
    assert len(found) == len(expected)
    for (field, text), (where, pattern) in zip(found, expected):
        assert field == where and re.match(pattern, text)
    # Converted checkpoints say nothing of their training.
    index.write_text(json.dumps(content | {"provenance": {}}))
    assert [field for field, _ in unlike_training(model, index)] == [place for place, _ in expected if place == "steps"]


def test_a_folder_whose_index_is_damaged_is_named(tmp_path):
    model = CheckpointsModel(
        family="checkpoints", folder="x", steps=[1], backbone="lm", encoder="e", strategy="lora", warmup="ctc"
    )
    (tmp_path / "checkpoints.json").write_text("{")
    [(field, text)] = unlike_training(model, tmp_path / "checkpoints.json")
    assert field == "folder" and "checkpoints.json" in text
