"""What makes two runs one model before training."""

import pytest

from workflow_scripts.settings.families.composite import CheckpointsModel, TrainedModel
from workflow_scripts.settings.training import RecipeSettings

RECIPE = {"warmup": "ctc", "batch_size": 8, "written_share": 0, "checkpoint_steps": [0, 10]}
MODEL = {"backbone": "lm", "encoder": "whisper", "strategy": "lora", "recipe": "r", "seed": 1}


def start(recipe=None, **model):
    recipes = {"r": RecipeSettings.model_validate(RECIPE | (recipe or {}))}
    return TrainedModel.model_validate(MODEL | model).grouping(recipes)["start"]


@pytest.mark.parametrize(
    "same",
    [
        {"strategy": "full"},
        {"strategy": "adapter"},
        {"distill": {"weight": 1.0, "layers": [1]}},
        {"recipe": {"lora": {"r": 64}}},
        {"recipe": {"batch_size": 16, "learning_rate": {"lora": 0.1}, "checkpoint_steps": [0, 5, 50]}},
    ],
)
def test_what_is_trained_later_leaves_step_0_as_it_is(same):
    changes = dict(same)
    recipe = changes.pop("recipe", None)
    assert start(recipe, **changes) == start()


@pytest.mark.parametrize(
    "other",
    [
        {"backbone": "other"},
        {"encoder": "other"},
        {"seed": 2},
        {"recipe": {"warmup": "none"}},
        {"recipe": {"ctc": {"epochs": 2}}},
        {"recipe": {"adapter": {"hidden_size": 64}}},
    ],
)
def test_parts_adapter_warm_up_and_seed_make_another_model(other):
    changes = dict(other)
    recipe = changes.pop("recipe", None)
    assert start(recipe, **changes) != start()


def test_the_warm_up_of_a_random_adapter_is_none():
    """Settings of a warm-up that is not made say nothing."""
    cold = {"warmup": "none"}
    assert start(cold | {"ctc": {"epochs": 3}}) == start(cold)


def test_checkpoints_from_a_folder_start_alike_by_backbone_encoder_and_warm_up():
    entry = {"family": "checkpoints", "folder": "x", "steps": [0, 10], "backbone": "lm", "encoder": "whisper"}

    def found(**changes):
        return CheckpointsModel.model_validate(entry | {"strategy": "lora", "warmup": "ctc"} | changes).grouping({})

    assert found()["start"] == found(strategy="full", folder="y", steps=[0, 5])["start"]
    assert found()["start"] != found(warmup="none")["start"]
