"""The config of training runs: rates, processes, starts and adapters that do not fit each other are refused."""

import pytest

from tests.small_study import changed, small_values
from workflow_scripts.settings import ConfigError, parse_config
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.training.sampler import MixedBatchSampler


@pytest.fixture
def values() -> dict:
    return small_values()


def test_processes_that_cannot_share_a_batch_are_refused_before_anything_runs(values):
    wrong = changed(values, "models/smollm2-full/processes", 3)
    with pytest.raises(
        ConfigError, match=r"models\.smollm2-full\.processes: batch_size .* 3 processes .*recipes\.small"
    ):
        parse_config(wrong)
    with pytest.raises(ConfigError, match="only full fine-tuning by several processes"):
        parse_config(changed(values, "models/smollm2-lora/shard", True))
    two = changed(values, "models/smollm2-full/processes", 2)
    assert parse_config(two).models["smollm2-full"].processes == 2


def test_only_a_posterior_has_runs_to_collapse(values):
    collapsed = {"output": "posterior", "collapse": True}
    recipe = parse_config(changed(values, "training/recipes/small/adapter", collapsed)).training.recipes["small"]
    assert recipe.adapter.collapse
    with pytest.raises(ConfigError, match=r"small\.adapter.*collapse is set with output 'projection'; it needs"):
        parse_config(changed(values, "training/recipes/small/adapter", {"collapse": True}))


def test_strategy_without_a_learning_rate_is_refused(values):
    with pytest.raises(ConfigError, match="has no 'lora'"):
        parse_config(changed(values, "training/recipes/small/learning_rate", {"full": 1e-4}))


def test_strategy_adapter_needs_the_one_rate_it_trains_with(values):
    values["models"]["smollm2-lora"]["strategy"] = "adapter"
    assert parse_config(values).models["smollm2-lora"].strategy == "adapter"
    with pytest.raises(ConfigError, match=r"models\.smollm2-lora\.strategy: training\.recipes\.small: no adapter_l"):
        parse_config(changed(values, "training/recipes/small/adapter_learning_rate", None))


def test_a_recipe_that_trains_nothing_is_refused(values):
    with pytest.raises(ConfigError, match=r"recipes\.small.*checkpoint_steps \[0\] train nothing; add a step above 0"):
        parse_config(changed(values, "training/recipes/small/checkpoint_steps", [0]))


@pytest.mark.parametrize(
    ("batch_size", "written_share", "prompts", "message"),
    [
        (4, 0.99, 2400, r"written_share 0\.99 leaves no spoken sample in a batch of 4; lower written_share"),
        (64, 0.25, 12, "batch_size 64 is 48 spoken and 16 written samples, of 12 prompts; lower batch_size or raise"),
        (16, 0.75, 11, "batch_size 16 is 4 spoken and 12 written samples, of 11 prompts"),
        (16, 0.75, 12, None),
    ],
)
def test_batches_that_cannot_be_drawn_are_refused_as_by_the_sampler(
    values, batch_size, written_share, prompts, message
):
    values["training"]["recipes"]["small"] |= {"batch_size": batch_size, "written_share": written_share}
    values["training"]["instructions"]["prompts"] = prompts

    def drawn():
        MixedBatchSampler([1] * prompts, batch_size=batch_size, written_share=written_share, steps=1, seed=0)

    if message is None:
        drawn()
        assert parse_config(values).training.instructions.prompts == prompts
    else:
        with pytest.raises(ValueError, match=r"in one batch|leaves no spoken sample"):
            drawn()
        with pytest.raises(ConfigError, match=rf"models\.smollm2-lora\.recipe: training\.recipes\.small: {message}"):
            parse_config(values)


def test_strategy_adapter_has_no_written_samples_so_any_share_fits(values):
    small = RecipeSettings.model_validate(
        values["training"]["recipes"]["small"] | {"batch_size": 4, "written_share": 0.99}
    )
    assert small.unfit_samples("adapter", 4) is None and small.unfit_samples("adapter", 3) is not None


EAR = {"warmup": "none", "objective": "ctc", "checkpoint_steps": [0, 10], "adapter": {"output": "posterior"}}
"""What changes in recipe `small` for an ear that CTC trains."""


@pytest.mark.parametrize(
    ("lora", "recipe", "message"),
    [
        ({"start": "absent"}, {}, "models.smollm2-lora.start: 'absent': no model that this study trains"),
        ({"start": "smollm2-lora"}, {}, "models.smollm2-lora.start: itself; "),
        ({"start": "smollm2-full"}, {}, "'smollm2-full' has another recipe's adapter, so its adapter does not fit"),
        ({"start": "ear", "encoder": "other"}, {}, "'ear' has another encoder"),
        (
            {"start": "smollm2-full"},
            {"warmup": "none", "adapter": {}},
            "recipe 'small' has none; set warmup: ctc",
        ),
        ({"start": "ear"}, {"checkpoint_steps": [0, 5]}, "step 0 would be the last checkpoint of 'ear' again"),
        ({"recipe": "ear"}, {}, "objective 'ctc' with strategy 'lora'"),
        ({"start": "ear"}, {}, None),
    ],
)
def test_a_run_starts_only_from_a_trained_one_whose_adapter_fits(values, lora, recipe, message):
    small = values["training"]["recipes"]["small"]
    values["training"]["recipes"]["ear"] = {**small, **EAR}
    values["models"]["ear"] = {**values["models"]["smollm2-full"], "strategy": "adapter", "recipe": "ear"}
    values["assets"]["other"] = values["assets"]["whisper-base"]
    posterior = {"checkpoint_steps": [5, 10], "adapter": {"output": "posterior"}, **recipe}
    values["training"]["recipes"]["tuned"] = {**small, **posterior, "objective": "answers"}
    entry = {**values["models"]["smollm2-lora"], "recipe": "tuned", **lora}
    values["models"]["smollm2-lora"] = entry
    if message is None:
        assert parse_config(values).models["smollm2-lora"].start == "ear"
    else:
        with pytest.raises(ConfigError, match=message.replace("'small'", "'tuned'")):
            parse_config(values)


def test_a_power_of_ten_that_yaml_reads_as_text_is_told_how_to_be_written():
    values = small_values()
    name = next(iter(values["training"]["recipes"]))
    values["training"]["recipes"][name]["adapter_learning_rate"] = "5e-5"
    with pytest.raises(ConfigError, match=r"YAML reads 5e-5 as text: write 5\.0e-5"):
        parse_config(values)
