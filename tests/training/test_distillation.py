"""The alignment loss: what it is, that training lowers it, that it reaches the adapter, and that off means off."""

import logging
import re

import pytest
import torch

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.settings.families.composite import DistillSettings
from workflow_scripts.speech_lm.anatomy import decoder_of
from workflow_scripts.speech_lm.hooks import hook_count
from workflow_scripts.training.alignment_loss import AlignmentLoss, aligned_cosine
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.dataset import Instruction, Sample
from workflow_scripts.training.trainer import LSLMTrainer


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_planted_tokens_give_cosine_one_and_the_gradient_reaches_the_speech_only():
    text = random(4, 16).requires_grad_()
    speech = random(9, 16, seed=1)
    speech[[1, 3, 5, 8]] = 2.5 * text.detach()
    speech.requires_grad_()
    found = aligned_cosine(speech, text)
    assert float(found.detach()) == pytest.approx(1)
    aligned_cosine(speech + 0.1, text).backward()
    assert text.grad is None and speech.grad[[1, 3, 5, 8]].abs().sum() > 0
    assert (speech.grad[[0, 2, 4, 6, 7]] == 0).all(), "only positions on the path are pulled"


def test_zero_vectors_count_as_nothing():
    assert float(aligned_cosine(torch.zeros(3, 8), random(2, 8))) == 0


def batch(frames=(12, 25)):
    """Two spoken samples and a written one."""
    collator = Collator((1, 2), (3,), 1, 5, written="prompt")
    samples = [
        Sample(Instruction(f"q{n}", (1, 2, *range(10, 10 + n), 3), (7, 8), True, n), random(n, 16, seed=n).numpy())
        for n in frames
    ]
    return collator([samples[0], Sample(samples[1].instruction, None), samples[1]])


def test_the_batch_holds_the_written_queries_of_spoken_samples():
    made = batch()
    assert made["written_ids"].shape == made["written_mask"].shape == (2, 32)
    for row, n in enumerate((12, 25)):
        assert made["written_ids"][row][made["written_mask"][row]].tolist() == list(range(10, 10 + n))


@pytest.mark.parametrize("layers", [[0], [1], [2], [0, 1, 2]])
def test_the_gradient_reaches_the_adapter_from_every_layer(tiny_lslm, layers):
    made = batch()
    distillation = AlignmentLoss(tiny_lslm, DistillSettings(weight=1.0, layers=layers))
    standing = hook_count(decoder_of(tiny_lslm.language_model).layers)
    tiny_lslm.train()
    _, loss = distillation.run(tiny_lslm, made)
    loss.backward()
    assert 0 < float(loss.detach()) < 4 and tiny_lslm.training
    assert float(tiny_lslm.adapter.up.weight.grad.abs().sum()) > 0
    assert distillation.read().tolist() == pytest.approx([float(loss.detach()), 2, 12 + 25])
    assert distillation.read().tolist() == [0, 0, 0]
    assert hook_count(decoder_of(tiny_lslm.language_model).layers) == standing


def test_training_lowers_the_alignment_loss_more_than_training_without_does(train_distilled, tmp_path, caplog):
    def losses(weight, folder):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            train_distilled(tmp_path / folder, {"weight": weight, "layers": [0, 1, 2]}, checkpoint_steps=[0, 40])
        return [float(found) for found in re.findall(r"distillation ([\d.]+)", caplog.text)]

    pulled, barely = losses(5.0, "pulled"), losses(1e-6, "barely")
    assert pulled[-1] < 0.85 * pulled[0]
    assert pulled[-1] < 0.9 * barely[-1]


def test_off_is_bit_equal_and_on_is_not(train_distilled, tmp_path):
    """An absent entry, None, and a trainer that never heard of the option give the same weights."""
    off, on = train_distilled(tmp_path / "off"), train_distilled(tmp_path / "on", {"weight": 1.0, "layers": [1]})
    assert off["step-000000"] == on["step-000000"]
    assert off["step-000006"] != on["step-000006"]


@pytest.mark.parametrize("micro", [None, 2])
def test_a_killed_run_resumes_to_the_same_bits(train_distilled, tmp_path, monkeypatch, micro):
    distill = {"weight": 0.5, "layers": [0, 2]}
    whole = train_distilled(tmp_path / "whole", distill, micro_batch_size=micro)
    compute = LSLMTrainer.compute_loss

    def killed_in_step_six(self, *arguments, **options):
        if self.state.global_step + 1 == 6:
            raise KeyboardInterrupt
        return compute(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(LSLMTrainer, "compute_loss", killed_in_step_six)
        with pytest.raises(KeyboardInterrupt):
            train_distilled(tmp_path / "killed", distill, micro_batch_size=micro)
    assert train_distilled(tmp_path / "killed", distill, micro_batch_size=micro) == whole


def test_a_layer_that_does_not_exist_is_named_before_training(train_distilled, tmp_path):
    with pytest.raises(ArtifactError, match=r"distill.layers has 3, but the language model has states 0 \.\. 2"):
        train_distilled(tmp_path, {"weight": 1.0, "layers": [1, 3]})
    with pytest.raises(ValueError, match="must be different"):
        DistillSettings(weight=1.0, layers=[1, 1])
