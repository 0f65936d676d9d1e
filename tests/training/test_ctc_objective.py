"""Training by CTC alone: the ear learns, the language model is not run and stays, a kill changes no bit."""

import pytest
import torch
from safetensors.torch import load_file

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm
from workflow_scripts.training import ctc_objective
from workflow_scripts.training import train_model as training_module
from workflow_scripts.training.ctc import ctc_nll, sampled_classes
from workflow_scripts.training.initial_model import new_lslm
from workflow_scripts.training.train_model import train_model
from workflow_scripts.training.trainer import LSLMTrainer

CTC = {"objective": "ctc", "adapter": {"hidden_size": 24, "output": "posterior"}, "adapter_learning_rate": 1e-2}


@pytest.fixture
def train(instructions, recipe, model_entry):
    def run(folder, strategy="adapter", data=instructions, start=None, **changes):
        train_model(
            *data.paths(),
            start,
            folder / "checkpoints.json",
            folder / "log.csv",
            name="tiny",
            model=model_entry(strategy=strategy),
            recipe=recipe(**{**CTC, **changes}),
            system_prompt=None,
        )
        return folder

    return run


def losses(folder, split, form):
    rows = read_table(folder / "log.csv", "training_log")
    return rows[(rows.split == split) & (rows.form == form)].loss_per_token.tolist()


def test_the_cost_of_what_is_said_falls_and_what_the_language_model_knows_stays(train, make_instructions, tmp_path):
    data = make_instructions(tmp_path / "data", n_train=4, n_heldout=1)
    folder = train(tmp_path / "m", data=data, checkpoint_steps=[0, 150], warmup_ratio=0.0)
    cost = losses(folder, "train", "speech")
    assert cost[-1] < 0.2 < 2 < cost[0]
    written = losses(folder, "heldout", "text")
    assert len(written) == 2 and written[0] == written[1]
    assert len(set(losses(folder, "heldout", "speech"))) == 2


def test_the_language_model_is_run_for_held_out_losses_only(train, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the answer loss was computed")

    monkeypatch.setattr(LSLMTrainer, "compute_loss", refuse)
    train(tmp_path, checkpoint_steps=[0, 2])


def test_products_are_in_the_number_format_that_the_log_names(train, tmp_path, monkeypatch):
    seen = []

    def noted(logits, lengths, classes):
        seen.append(logits.dtype)
        return ctc_nll(logits, lengths, classes)

    monkeypatch.setattr(ctc_objective, "ctc_nll", noted)
    for bf16 in (True, False):
        monkeypatch.setattr(training_module, "multiplies_bfloat16", lambda device, bf16=bf16: bf16)
        train(tmp_path / str(bf16), checkpoint_steps=[0, 1])
    assert seen == [torch.bfloat16, torch.float32]


def test_a_step_is_the_gradient_of_the_batch_mean_however_it_is_split(train, tmp_path, monkeypatch):
    seen = []

    def counted(logits, lengths, classes):
        seen.append(len(classes))
        return ctc_nll(logits, lengths, classes)

    monkeypatch.setattr(ctc_objective, "ctc_nll", counted)
    monkeypatch.setattr(training_module, "multiplies_bfloat16", lambda device: False)
    whole = train(tmp_path / "whole", checkpoint_steps=[0, 2])
    split = train(tmp_path / "split", checkpoint_steps=[0, 2], micro_batch_size=2)
    assert seen == [4] * 2 + [2] * 4
    first, second = (load_file(f / "step-000002" / "adapter.safetensors") for f in (whole, split))
    for name, tensor in first.items():
        torch.testing.assert_close(second[name], tensor, rtol=0, atol=2e-4)


def test_a_checkpoint_is_a_speech_llm_over_the_tokens_of_the_training_texts(train, instructions, tmp_path):
    folder = train(tmp_path, checkpoint_steps=[0, 1])
    start, later = (load_lslm(folder / f"step-00000{n}", instructions.backbone).adapter for n in (0, 1))
    embeddings = load_lslm(folder / "step-000000", instructions.backbone).embed_tokens(torch.arange(8))
    assert start.shape.n_tokens > 8 and start.shape.d_model == embeddings.shape[1]
    changed = {name for name, tensor in start.state_dict().items() if not torch.equal(tensor, later.state_dict()[name])}
    assert changed == {"down.weight", "down.bias", "up.weight", "up.bias", "head.blank", "head.bias"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"hidden_size": 24}}, "objective is 'ctc', which trains adapter.output: posterior"),
        ({"strategy": "lora"}, "objective 'ctc' with strategy 'lora'"),
    ],
)
def test_what_ctc_cannot_train_is_refused(train, tmp_path, changes, message):
    with pytest.raises((ValueError, ArtifactError), match=message):
        train(tmp_path, **changes)


def test_a_run_by_ctc_does_not_count_as_one_whose_alignment_arose_by_itself(recipe, model_entry):
    recipes = {"tiny": RecipeSettings.model_validate(recipe(**CTC))}
    grouping = TrainedModel.model_validate(model_entry(strategy="adapter")).grouping(recipes)
    assert grouping["warmup"] == "ctc"
    warmed = {"tiny": RecipeSettings.model_validate(recipe(**{**CTC, "warmup": "ctc"}))}
    assert TrainedModel.model_validate(model_entry(strategy="adapter")).grouping(warmed)["start"] != grouping["start"]


def test_lora_starts_from_the_ear_of_a_run_that_ended(train, instructions, recipe, model_entry, tmp_path):
    ear = train(tmp_path / "ear", checkpoint_steps=[0, 2]) / "checkpoints.json"
    settings = RecipeSettings.model_validate(recipe(**{**CTC, "objective": "answers", "warmup": "ctc"}))
    entry = TrainedModel.model_validate(model_entry(strategy="lora", start="ear"))
    started = new_lslm(instructions.backbone, 16, entry, settings, ear)
    last = load_file(ear.parent / "step-000002" / "adapter.safetensors")
    for name, tensor in started.adapter.state_dict().items():
        assert torch.equal(tensor, last[name]), name
    folder = train(tmp_path / "lora", "lora", start=ear, checkpoint_steps=[1, 2], objective="answers", warmup="ctc")
    assert load_lslm(folder / "step-000001", instructions.backbone).adapter.shape == started.adapter.shape
    (ear.parent / "step-000002" / "adapter.safetensors").write_bytes(b"")
    with pytest.raises(ArtifactError, match="its weights are not those of"):
        new_lslm(instructions.backbone, 16, entry, settings, ear)


def test_with_all_tokens_sampled_the_loss_is_the_exact_one_and_with_fewer_it_is_near():
    draw = torch.Generator().manual_seed(0)
    n_classes, labels = 400, [[3, 7, 7], [5]]
    logits, lengths = torch.randn(2, 9, n_classes, generator=draw), torch.tensor([9, 6])
    exact, _ = ctc_nll(logits, lengths, labels)

    def sampled(n: int) -> float:
        classes, weight, places = sampled_classes(labels, n_classes, n, draw)
        assert classes[0] == 0 and len(set(classes.tolist())) == len(classes) == min(4 + n, n_classes)
        assert [[classes[place].item() for place in row] for row in places] == labels
        return float(ctc_nll(logits[..., classes] + weight, lengths, places)[0])

    assert sampled(1000) == pytest.approx(float(exact), rel=1e-6)
    costs = [sampled(100) for _ in range(200)]
    assert sum(costs) / len(costs) == pytest.approx(float(exact), rel=0.01)
    assert max(costs) > min(costs)


def test_a_run_with_sampled_tokens_learns_what_the_exact_one_does(train, recipe, tmp_path):
    train(tmp_path / "exact")
    train(tmp_path / "sampled", sampled_tokens=1000)
    assert losses(tmp_path / "sampled", "train", "speech") == pytest.approx(
        losses(tmp_path / "exact", "train", "speech"), rel=5e-3
    )
