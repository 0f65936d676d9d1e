"""Training of tiny models: it learns, it resumes to the same bits, and its checkpoints are what they say."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.checkpoints import CheckpointIndex, weights_hash
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm, read_info
from workflow_scripts.training.dataset import InstructionDataset
from workflow_scripts.training.initial_model import new_lslm, swamped_matrices
from workflow_scripts.training.train_model import train_model
from workflow_scripts.training.trainer import LSLMTrainer, parameter_groups


@pytest.fixture
def train(instructions, recipe, model_entry):
    """Runs the step into a folder; `strategy` and recipe values can be changed."""

    def run(folder, strategy="lora", adapter_file=None, data=instructions, **changes):
        train_model(
            *data.paths(),
            adapter_file,
            folder / "checkpoints.json",
            folder / "log.csv",
            name="tiny",
            model=model_entry(strategy=strategy),
            recipe=recipe(**changes),
            system_prompt=None,
        )
        return folder

    return run


def weights(folder):
    return {str(path.relative_to(folder)): load_file(path) for path in sorted(folder.rglob("*.safetensors"))}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, tensors in first.items():
        assert tensors.keys() == second[name].keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, second[name][key]), (name, key)


@pytest.mark.parametrize("strategy", ["adapter", "lora", "full"])
def test_step_zero_is_the_untrained_start_and_later_steps_differ(
    train, instructions, recipe, model_entry, tmp_path, strategy
):
    folder = train(tmp_path, strategy, checkpoint_steps=[0, 1], adapter_learning_rate=1e-2)
    settings = RecipeSettings.model_validate(recipe())
    start = new_lslm(
        instructions.backbone, 16, TrainedModel.model_validate(model_entry(strategy=strategy)), settings, None
    )
    loaded = load_lslm(folder / "step-000000", instructions.backbone, merge=False)
    expected, found = start.state_dict(), loaded.state_dict()
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        # The frozen backbone is held in bfloat16 on machines that multiply it.
        assert torch.equal(tensor, found[name].to(tensor.dtype)), name
    later = load_lslm(folder / "step-000001", instructions.backbone, merge=False).state_dict()
    changed = {name for name in found if not torch.equal(found[name], later[name])}
    assert any(name.startswith("adapter.") for name in changed)
    if strategy != "full":
        assert all(name.startswith("adapter.") or "lora_B" in name for name in changed)
        assert any("lora_B" in name for name in changed) == (strategy == "lora")
    else:
        assert "language_model.model.embed_tokens.weight" in changed


def test_strategy_adapter_hears_only_spoken_samples_and_its_written_loss_stays(train, tmp_path):
    rows = read_table(
        train(tmp_path, "adapter", adapter_learning_rate=1e-2, written_share=0.25) / "log.csv", "training_log"
    ).to_dict("records")
    assert {row["form"] for row in rows if row["split"] == "train"} == {"speech", "all"}
    heldout = {form: [row["loss_per_token"] for row in rows if (row["split"], row["form"]) == ("heldout", form)]
               for form in ("speech", "text")}  # fmt: skip
    assert len(set(heldout["text"])) == 1 and len(set(heldout["speech"])) == len(heldout["speech"])


@pytest.mark.parametrize("strategy", ["lora", "full"])
def test_loss_falls_when_overfitting_few_samples(train, make_instructions, tmp_path, strategy):
    data = make_instructions(tmp_path / "data", n_train=4, n_heldout=1)
    lora = {"r": 16, "alpha": 32, "dropout": 0.0, "targets": ["q_proj", "v_proj", "gate_proj", "down_proj"]}
    folder = train(tmp_path / "m", strategy, data=data, checkpoint_steps=[0, 60], lora=lora, warmup_ratio=0.0)
    losses = [
        row
        for row in read_table(folder / "log.csv", "training_log").to_dict("records")
        if row["split"] == "train" and row["form"] == "all"
    ]
    assert losses[-1]["loss_per_token"] < 0.5 < 4 < losses[0]["loss_per_token"]
    assert losses[0]["learning_rate"] > 0.009 and losses[-1]["learning_rate"] == 0.0


@pytest.mark.parametrize("accumulated", [None, 2])
def test_a_killed_run_resumes_to_the_same_bits(train, tmp_path, monkeypatch, accumulated):
    """LoRA dropout is on, so random states must be restored too."""
    changes = {"micro_batch_size": accumulated}
    whole = train(tmp_path / "whole", **changes)
    compute, steps = LSLMTrainer.compute_loss, []

    def killed_in_step_six(self, *arguments, **options):
        steps.append(self.state.global_step + 1)
        if steps[-1] == 6:
            raise KeyboardInterrupt
        return compute(self, *arguments, **options)

    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(LSLMTrainer, "compute_loss", killed_in_step_six)
        with pytest.raises(KeyboardInterrupt):
            train(killed, **changes)
    assert not (killed / "checkpoints.json").exists()
    assert [path.name for path in (killed / "trainer").glob("checkpoint-*")] == ["checkpoint-4"]
    (killed / "trainer" / "checkpoint-6").mkdir()  # as if the kill had come while this one was written
    steps.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            LSLMTrainer,
            "compute_loss",
            lambda self, *a, **o: (steps.append(self.state.global_step + 1), compute(self, *a, **o))[1],
        )
        train(killed, **changes)
    assert set(steps) == {5, 6}  # it did resume
    assert_equal_weights(weights(whole), weights(killed))
    for column in ("step", "split", "form", "loss_per_token", "n_samples", "n_tokens", "learning_rate"):
        first, second = (
            [
                row[column]
                for row in read_table(run / "log.csv", "training_log").to_dict("records")
                if row["step"] in (0, 2, 4, 6)
            ]
            for run in (whole, killed)
        )
        assert first == second, column
    assert not (killed / "trainer").exists()


def test_two_runs_of_one_seed_are_equal_and_another_seed_is_not(train, instructions, recipe, model_entry, tmp_path):
    first, second = train(tmp_path / "a"), train(tmp_path / "b")
    assert_equal_weights(weights(first), weights(second))
    other = tmp_path / "c"
    train_model(
        *instructions.paths(),
        None,
        other / "checkpoints.json",
        other / "log.csv",
        name="tiny",
        model=model_entry(seed=4),
        recipe=recipe(),
        system_prompt=None,
    )
    assert weights_hash(first / "step-000006") != weights_hash(other / "step-000006")


def test_state_of_a_run_with_other_settings_is_discarded(train, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    compute = LSLMTrainer.compute_loss

    def killed(self, *arguments, **options):
        if self.state.global_step == 3:
            raise KeyboardInterrupt
        return compute(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LSLMTrainer, "compute_loss", killed)
        with pytest.raises(KeyboardInterrupt):
            train(folder)
    train(folder, checkpoint_steps=[0, 3])
    fresh = train(tmp_path / "fresh", checkpoint_steps=[0, 3])
    assert_equal_weights(weights(fresh), weights(folder))


def test_accumulated_micro_batches_give_the_loss_of_the_whole_batch(train, tmp_path):
    plain = {"r": 4, "alpha": 4, "dropout": 0.0}
    whole = train(tmp_path / "a", lora=plain, checkpoint_steps=[0, 3])
    parts = train(tmp_path / "b", lora=plain, checkpoint_steps=[0, 3], micro_batch_size=1)
    for name, tensor in load_file(whole / "step-000003" / "adapter.safetensors").items():
        # bfloat16 products on some machines
        other = load_file(parts / "step-000003" / "adapter.safetensors")[name]
        assert torch.nn.functional.cosine_similarity(tensor.flatten(), other.flatten(), dim=0) > 0.999, name


def test_held_out_prompts_are_never_in_a_batch(train, tmp_path, monkeypatch):
    read, get = [], InstructionDataset.__getitem__
    monkeypatch.setattr(InstructionDataset, "__getitem__", lambda self, index: (read.append(self), get(self, index))[1])
    trained = []
    compute = LSLMTrainer.compute_loss

    def noting(self, model, inputs, **options):
        trained.extend(row[row != -100].tolist() for row in inputs["labels"])
        return compute(self, model, inputs, **options)

    monkeypatch.setattr(LSLMTrainer, "compute_loss", noting)
    train(tmp_path)
    # Answers are numbered: 10 + number, ...; held-out prompts are numbers 10 and 11.
    assert len(trained) == 6 * 4
    assert {labels[0] for labels in trained} == {10 + number for number in range(10)}


def test_log_has_train_and_held_out_rows_of_both_forms(train, tmp_path):
    rows = read_table(train(tmp_path) / "log.csv", "training_log").to_dict("records")
    heldout = {(row["step"], row["form"]): row for row in rows if row["split"] == "heldout"}
    assert set(heldout) == {(step, form) for step in (0, 2, 4, 6) for form in ("speech", "text")}
    assert all(row["n_tokens"] == 6 and row["n_samples"] == 2 for row in heldout.values())  # no end tokens
    assert heldout[0, "text"]["loss_per_token"] != heldout[0, "speech"]["loss_per_token"]
    trained = {(row["step"], row["form"]): row["n_samples"] for row in rows if row["split"] == "train"}
    assert trained[3, "speech"] == 3 and trained[3, "text"] == 1 and trained[3, "all"] == 4


def test_held_out_loss_is_that_of_the_exported_checkpoint(train, instructions, tmp_path):
    """The curve's written loss at the last step, again from the folder, one answer at a time by plain softmax."""
    folder = train(tmp_path)
    rows = {
        row["form"]: row
        for row in read_table(folder / "log.csv", "training_log").to_dict("records")
        if row["split"] == "heldout" and row["step"] == 6
    }
    model = load_composite(
        backbone=instructions.backbone, checkpoint=folder / "step-000006", encoder=None, dtype="float32", merge=False
    )
    answers = {answer.id: answer for answer in ANSWERS.read(instructions.answers)}
    questions = [q for q in QUESTIONS.read(instructions.questions) if q.id.startswith("heldout")]
    total = 0.0
    for question in questions:
        ids = model.encode_text(question.prompt).inputs["input_ids"][0].tolist()
        answer = answers[question.id].token_ids
        with torch.no_grad():
            logits = model.lslm(torch.tensor([ids + answer])).logits[0].float().log_softmax(dim=-1)
        total -= sum(logits[len(ids) - 1 + n, token].item() for n, token in enumerate(answer))
    assert rows["text"]["loss_per_token"] == pytest.approx(total / 6, rel=0.02)


def test_index_and_facts_say_how_it_was_made(train, tmp_path):
    folder = train(tmp_path)
    index = CheckpointIndex.read(folder / "checkpoints.json")
    assert [entry.step for entry in index.checkpoints] == [0, 2, 4, 6]
    assert index.checkpoints[1].sha256 == weights_hash(folder / "step-000002")
    info = read_info(folder / "step-000006")
    assert (info.strategy, info.step, info.seed) == ("lora", 6, 3)
    assert info.facts["warmup"] == "none"
    assert info.facts["n_train"] == 10
    assert info.facts["settings"]["recipe"]["batch_size"] == 4
    assert not list(folder.glob(".*")) and not (folder / "trainer").exists()


def test_warmed_up_adapter_is_the_start(train, instructions, recipe, model_entry, tmp_path):
    settings = RecipeSettings.model_validate(recipe())
    start = new_lslm(instructions.backbone, 16, TrainedModel.model_validate(model_entry(seed=77)), settings, None)
    save_file(start.adapter.state_dict(), tmp_path / "adapter.safetensors")
    folder = train(tmp_path / "m", adapter_file=tmp_path / "adapter.safetensors", warmup="ctc", checkpoint_steps=[0, 1])
    found = load_file(folder / "step-000000" / "adapter.safetensors")
    assert torch.equal(found["down.weight"], start.adapter.down.weight)
    with pytest.raises(ArtifactError, match="the recipe needs"):
        train(tmp_path / "n", adapter_file=tmp_path / "adapter.safetensors", warmup="ctc", adapter={"hidden_size": 7})
    with pytest.raises(ArtifactError, match="warmup 'ctc', but the adapter given is None"):
        train(tmp_path / "o", warmup="ctc")


def test_a_rate_that_would_undo_the_warm_up_is_warned_of(train, instructions, recipe, model_entry, tmp_path, caplog):
    settings = RecipeSettings.model_validate(recipe())
    start = new_lslm(instructions.backbone, 16, TrainedModel.model_validate(model_entry()), settings, None).adapter
    with torch.no_grad():
        start.up.weight.mul_(0.045 / start.up.weight.square().mean().sqrt())
        start.down.weight.div_(start.down.weight.square().mean().sqrt())
    assert swamped_matrices(start, 0.018) == {"up.weight": pytest.approx(0.4)}
    assert swamped_matrices(start, 0.0044) == {}
    save_file(start.state_dict(), tmp_path / "adapter.safetensors")
    steps = {"adapter_file": tmp_path / "adapter.safetensors", "warmup": "ctc", "checkpoint_steps": [0, 1]}
    train(tmp_path / "kept", adapter_learning_rate=0.0044, **steps)
    assert "undoes the warm-up" not in caplog.text
    train(tmp_path / "undone", adapter_learning_rate=0.018, **steps)
    assert "up.weight by about 40 %, which undoes the warm-up; 4.5e-03 or less keeps it" in caplog.text


def test_a_loss_that_is_not_finite_stops_with_step_and_remedy(train, tmp_path, monkeypatch):
    compute = LSLMTrainer.compute_loss

    def broken(self, model, inputs, **options):
        if self.state.global_step == 2:
            inputs["features"] = inputs["features"] * math.nan
        return compute(self, model, inputs, **options)

    monkeypatch.setattr(LSLMTrainer, "compute_loss", broken)
    with pytest.raises(FloatingPointError, match="loss is nan at step 3; lower the recipe's learning_rate"):
        train(tmp_path)


def test_a_held_out_loss_that_is_not_finite_stops_with_a_remedy(train, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.training.heldout._total", lambda *_: (math.nan, 5))
    with pytest.raises(FloatingPointError, match="held-out loss of the speech form is nan; lower the recipe's"):
        train(tmp_path)


def test_a_full_disk_in_the_middle_of_training_is_named_and_earlier_checkpoints_stay(train, tmp_path, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(LSLMTrainer, "_save", full)
    with pytest.raises(ArtifactError, match=r"trainer: the disk is full .* finished files are kept"):
        train(tmp_path)
    assert (tmp_path / "step-000000" / "lslm.json").exists()
    monkeypatch.undo()
    assert len(CheckpointIndex.read(train(tmp_path) / "checkpoints.json").checkpoints) > 1


def test_adapter_and_language_model_have_their_own_rates(instructions, recipe, model_entry):
    settings = RecipeSettings.model_validate(recipe())
    model = new_lslm(instructions.backbone, 16, TrainedModel.model_validate(model_entry()), settings, None)
    groups = parameter_groups(model, 1e-4, 1e-3, 0.1)
    adapter = {id(parameter) for parameter in model.adapter.parameters()}
    by_rate = {rate: [p for g in groups if g["lr"] == rate for p in g["params"]] for rate in (1e-4, 1e-3)}
    assert {id(p) for p in by_rate[1e-3]} == adapter
    assert all(p.dtype == torch.float32 for p in by_rate[1e-4]) and len(by_rate[1e-4]) == 2 * 2 * 4
    assert all((p.ndim < 2) == (g["weight_decay"] == 0) for g in groups for p in g["params"])


def test_batch_that_does_not_divide_is_refused(train, tmp_path):
    with pytest.raises(ArtifactError, match="batch_size 4 does not divide into 1 processes x micro-batches of 3"):
        train(tmp_path, micro_batch_size=3)


def test_a_prompt_without_answer_is_refused(train, instructions, tmp_path):
    lines = instructions.answers.read_text().splitlines()
    header = json.loads(lines[0]) | {"n": len(lines) - 2}
    cut = tmp_path / "a.jsonl"
    cut.write_text("\n".join([json.dumps(header), *lines[1:4], *lines[5:]]) + "\n")
    data = type(instructions)(*instructions.paths()[:3], cut, instructions.backbone)
    with pytest.raises(ArtifactError, match="no answer to 'train-00003'"):
        train(tmp_path / "m", data=data)


@pytest.mark.parametrize(("split", "n"), [("train", 10), ("heldout", 2)])
def test_answers_that_are_all_empty_are_named_before_a_model_is_loaded(
    train, instructions, tmp_path, monkeypatch, split, n
):
    monkeypatch.setattr("workflow_scripts.training.train_model.new_lslm", None)
    silent = [
        answer.model_copy(update={"token_ids": []}) if answer.id.startswith(split) else answer
        for answer in ANSWERS.read(instructions.answers)
    ]
    ANSWERS.write(tmp_path / "a.jsonl", silent, {})
    data = type(instructions)(*instructions.paths()[:3], tmp_path / "a.jsonl", instructions.backbone)
    with pytest.raises(ArtifactError, match=rf"a\.jsonl: the answers to all {n} {split} prompts are empty; ask more"):
        train(tmp_path / "m", data=data)
