"""Distillation of answers: the KL by hand, where its gradient goes, at which positions, and that training lowers it."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from tests.training.test_distillation import random
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.settings.families.composite import DistillSettings
from workflow_scripts.speech_lm.trainable.adapters import CtcHead, PosteriorAdapter
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.dataset import Instruction, Sample
from workflow_scripts.training.response_loss import ResponseLoss, answer_kl, places_in_row


@pytest.mark.parametrize("reverse", [False, True])
def test_equal_distributions_have_no_divergence(reverse):
    logits = random(3, 7)
    assert answer_kl(logits, logits + 5, reverse=reverse).numpy() == pytest.approx(0, abs=1e-6)


def test_the_divergence_is_that_of_the_definition():
    """From the sum over the vocabulary, and by torch's own function; forward and reverse differ."""
    teacher, student = random(4, 9), 2 * random(4, 9, seed=1)
    p, q = teacher.double().softmax(-1).numpy(), student.double().softmax(-1).numpy()
    forward, reverse = (answer_kl(teacher, student, reverse=way) for way in (False, True))
    assert forward.numpy() == pytest.approx((p * np.log(p / q)).sum(-1), rel=1e-5)
    assert reverse.numpy() == pytest.approx((q * np.log(q / p)).sum(-1), rel=1e-5)
    by_torch = nn.functional.kl_div(student.log_softmax(-1), teacher.softmax(-1), reduction="none").sum(-1)
    assert forward.numpy() == pytest.approx(by_torch.numpy(), rel=1e-5)
    assert (np.abs((forward / reverse).numpy() - 1) > 0.01).all()


def test_bfloat16_logits_are_compared_in_float32():
    teacher, student = random(2, 5).bfloat16(), random(2, 5, seed=1).bfloat16()
    found = answer_kl(teacher, student, reverse=False)
    assert found.dtype == torch.float32
    assert torch.equal(found, answer_kl(teacher.float(), student.float(), reverse=False))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_gradient_is_the_student_s_alone(reverse):
    """By hand for the forward divergence: q - p."""
    teacher, student = random(2, 6).requires_grad_(), random(2, 6, seed=1).requires_grad_()
    answer_kl(teacher, student, reverse=reverse).sum().backward()
    assert teacher.grad is None and float(student.grad.abs().sum()) > 0.1
    if not reverse:
        expected = student.detach().softmax(-1) - teacher.detach().softmax(-1)
        assert student.grad.numpy() == pytest.approx(expected.numpy(), abs=1e-6)


def test_places_are_counted_within_a_row():
    assert places_in_row(torch.tensor([0, 0, 0, 2, 5, 5])).tolist() == [0, 1, 2, 0, 0, 1]


ANSWERS = ((7, 8, 9), (30,))


def batch(order=("spoken 0", "written 1", "spoken 1")):
    """Samples of two instructions; their labels are the answers and an end token."""
    rows = {}
    for number, (n, answer) in enumerate(zip((12, 25), ANSWERS)):
        instruction = Instruction(f"q{n}", (1, 2, *range(10, 10 + n), 3), answer, True, n)
        rows[f"spoken {number}"] = Sample(instruction, random(n, 16, seed=n).numpy())
        rows[f"written {number}"] = Sample(instruction, None)
    return Collator((1, 2), (3,), 1, 5, written="answered")([rows[name] for name in order])


def settings(loss="forward_kl", **changes):
    return DistillSettings(loss=loss, weight=1.0, **changes)


def logits_one_by_one(lslm, order, positions):
    """(spoken, written) logits of every spoken sample's label positions, each sample in a batch of its own."""
    for name in order:
        number = int(name[-1])
        found = []
        for form in ("spoken", "written"):
            alone = {key: value for key, value in batch([f"{form} {number}"]).items() if not key.startswith("written_")}
            found.append(lslm(**alone).logits[:positions])
        yield found


@pytest.mark.parametrize("loss", ["forward_kl", "reverse_kl"])
@pytest.mark.parametrize("positions", [None, 1, 3])
def test_a_batch_costs_what_its_spoken_samples_cost_one_by_one(tiny_lslm, loss, positions):
    tiny_lslm.eval()
    distillation = ResponseLoss(tiny_lslm, settings(loss, positions=positions))
    with torch.no_grad():
        _, found = distillation.run(tiny_lslm, batch())
        expected = [
            answer_kl(written, spoken, reverse=loss == "reverse_kl").mean()
            for spoken, written in logits_one_by_one(tiny_lslm, ("spoken 0", "spoken 1"), positions)
        ]
    assert float(found) == pytest.approx(float(sum(expected)), rel=1e-4) and float(found) > 0
    n_positions = sum(min(len(answer) + 1, positions or 9) for answer in ANSWERS)
    assert distillation.read().tolist() == pytest.approx([float(found), 2, n_positions])


def test_a_batch_without_speech_teaches_nothing(tiny_lslm):
    distillation = ResponseLoss(tiny_lslm, settings())
    output, loss = distillation.run(tiny_lslm, batch(["written 0", "written 1"]))
    assert loss is None and len(output.token_nll) == 6 and distillation.read().tolist() == [0, 0, 0]


def test_the_vocabulary_is_multiplied_at_label_positions_only(tiny_lslm, monkeypatch):
    sizes = []
    head = tiny_lslm.language_model.get_output_embeddings()
    head.register_forward_hook(lambda _module, args, _output: sizes.append(args[0].shape[:-1].numel()))
    ResponseLoss(tiny_lslm, settings(positions=1)).run(tiny_lslm, batch())
    assert sizes == [4 + 2 + 2, 2]


@pytest.mark.parametrize("loss", ["forward_kl", "reverse_kl"])
def test_the_gradient_reaches_the_adapter_and_not_the_teacher(tiny_lslm, loss):
    """The teacher's pass leaves no graph: the same gradient as with its logits written down as numbers."""
    made = batch(["spoken 0"])
    tiny_lslm.train()
    torch.manual_seed(1)  # of LoRA's dropout
    ResponseLoss(tiny_lslm, settings(loss)).run(tiny_lslm, dict(made))[1].backward()
    assert tiny_lslm.training
    found = {name: p.grad.clone() for name, p in tiny_lslm.named_parameters() if p.grad is not None}
    assert float(found["adapter.up.weight"].abs().sum()) > 0
    tiny_lslm.zero_grad(set_to_none=True)
    tiny_lslm.eval()
    with torch.no_grad():
        teacher = tiny_lslm(made["written_ids"], labels=made["written_labels"]).logits
    tiny_lslm.train()
    torch.manual_seed(1)
    student = tiny_lslm(**{name: tensor for name, tensor in made.items() if not name.startswith("written_")}).logits
    answer_kl(teacher, student, reverse=loss == "reverse_kl").mean().backward()
    own = {name: p.grad for name, p in tiny_lslm.named_parameters() if p.grad is not None}
    assert found.keys() == own.keys()
    for name, gradient in own.items():
        assert found[name].numpy() == pytest.approx(gradient.numpy(), rel=1e-3, abs=1e-6), name


@pytest.fixture
def collapsing_lslm(tiny_lslm):
    """Hears fewer tokens than it has positions, so that rows are closed up."""
    embeddings = tiny_lslm.embed_tokens(torch.arange(40, 44)).detach()
    torch.manual_seed(0)
    tiny_lslm.adapter = PosteriorAdapter.of(tiny_lslm.adapter, CtcHead(embeddings), embeddings, collapse=True).eval()
    return tiny_lslm.eval()


def test_rows_that_are_closed_up_are_taught_at_their_own_answers(collapsing_lslm):
    made = batch()
    marked = made["speech_mask"].sum(dim=1)
    with torch.no_grad():
        output, found = ResponseLoss(collapsing_lslm, settings()).run(collapsing_lslm, made)
        expected = [
            answer_kl(written, spoken, reverse=False).mean()
            for spoken, written in logits_one_by_one(collapsing_lslm, ("spoken 0", "spoken 1"), None)
        ]
    assert int((output.speech_mask.sum(dim=1) < marked).sum()) > 0, "the fixture must leave positions empty"
    assert float(found) == pytest.approx(float(sum(expected)), rel=1e-4)


def test_training_lowers_the_divergence_more_than_its_twin_does(train_distilled, tmp_path):
    """Twins of one seed under a frozen teacher: the divergence is in the log of both, and falls where it is trained."""

    def logged(weight, folder):
        entry, rate = {"strategy": "adapter"}, {"adapter_learning_rate": 1e-2, "checkpoint_steps": [0, 30]}
        train_distilled(tmp_path / folder, {"loss": "forward_kl", "weight": weight}, entry, **rate)
        return select(read_table(tmp_path / folder / "log.csv", "training_log"), split="train", form="distill")

    taught, twin = logged(20.0, "taught"), logged(1e-9, "twin")
    first, last = taught["loss_per_token"].iloc[0], taught["loss_per_token"].iloc[-3:].mean()
    assert last < 0.7 * first and last < 0.7 * twin["loss_per_token"].iloc[-3:].mean()
    assert (taught["n_samples"] > 0).all() and (taught["n_tokens"] >= 3 * taught["n_samples"]).all()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"loss": "cosine"}, "name some"),
        ({"loss": "forward_kl", "layers": [1]}, "remove layers"),
        ({"layers": [1], "positions": 2}, "remove positions"),
        ({"loss": "reverse_kl", "positions": 0}, "greater than 0"),
    ],
)
def test_settings_that_the_loss_does_not_read_are_refused(wrong, message):
    with pytest.raises(ValidationError, match=message):
        DistillSettings.model_validate({"weight": 1.0} | wrong)
