"""CTC warm-up: planted features are decoded, impossible utterances are found, the rescaling is exact."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.tables import read_table
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import AdapterSettings, RecipeSettings, WarmupSettings
from workflow_scripts.speech_lm.trainable.adapters import CtcHead, PosteriorAdapter, token_runs
from workflow_scripts.speech_lm.trainable.checkpoint import load_lslm, save_lslm
from workflow_scripts.training.collator import padded_features
from workflow_scripts.training.ctc import (
    CtcVocabulary,
    ctc_nll,
    greedy_classes,
    positions_needed,
    spoken_text,
)
from workflow_scripts.training.initial_model import new_adapter, new_lslm
from workflow_scripts.training.warm_up_adapter import (
    Utterance,
    possible,
    rescale,
    train_ctc,
    warm_up_adapter,
    word_error_rate,
)

WORDS = ("red", "dog", "tea")


@pytest.fixture(scope="module")
def vocabulary(instructions):
    return CtcVocabulary(AutoTokenizer.from_pretrained(instructions.backbone), WORDS)


def planted(vocabulary, n, seed):
    """Utterances whose frames are one-hot codes of their labels: five frames a label, a silent position after each."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(n):
        text = " ".join(rng.choice(WORDS, size=2))
        classes = vocabulary.encode(text)
        codes = np.zeros((2 * len(classes), 16), dtype=np.float32)
        codes[::2] = np.eye(16, dtype=np.float32)[np.array(classes)]
        features = np.repeat(codes, 5, axis=0) + 0.05 * rng.standard_normal((10 * len(classes), 16), dtype=np.float32)
        made.append(Utterance(len(features), classes, text, lambda features=features: features))
    return made


def test_texts_are_lower_case_with_a_leading_space_and_no_final_punctuation():
    assert spoken_text("Is  Paris\nin France?") == " is paris in france"
    assert spoken_text("Mr. Smith said: no!?") == " mr. smith said: no"


def test_the_letter_of_an_option_is_not_the_article():
    assert spoken_text("Is A dog: A: a Marsh. B: I know.") == " is A dog: A: a marsh. B: I know"


def test_vocabulary_round_trip_and_unknown_tokens(vocabulary):
    assert vocabulary.decode(vocabulary.encode("Red dog.")) == "red dog"
    assert vocabulary.decode(vocabulary.encode("red zoo")) == "red oo"  # z occurs in no training text
    assert len(vocabulary) == len(set(" " + "".join(WORDS))) + 1


def test_planted_features_are_decoded_after_overfitting(vocabulary):
    utterances = planted(vocabulary, 24, seed=0)
    adapter = new_adapter(AdapterSettings(hidden_size=64), 16, 32, seed=0)
    embeddings = torch.randn(len(vocabulary) - 1, 32, generator=torch.Generator().manual_seed(1))
    head = CtcHead(embeddings)
    before = word_error_rate(adapter, head, vocabulary, planted(vocabulary, 8, seed=9))
    rows = list(train_ctc(adapter, head, utterances, WarmupSettings(epochs=40, batch_size=8, learning_rate=1e-2), 0))
    assert rows[-1]["ctc_loss"] < 0.05 < 1 < rows[0]["ctc_loss"]
    assert rows[-1]["step"] == 120
    assert before > 0.9
    assert word_error_rate(adapter, head, vocabulary, planted(vocabulary, 8, seed=9)) == 0.0


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(vocabulary):
    def weights(seed):
        adapter = new_adapter(AdapterSettings(hidden_size=8), 16, 32, seed)
        head = CtcHead(torch.eye(len(vocabulary) - 1, 32))
        settings = WarmupSettings(epochs=1, batch_size=4)
        list(train_ctc(adapter, head, planted(vocabulary, 8, seed=0), settings, seed))
        return torch.cat([parameter.flatten() for parameter in adapter.parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


@pytest.fixture(scope="module")
def ear(vocabulary):
    """Adapter and head that hear what is planted, and the embeddings they were trained against."""
    adapter = new_adapter(AdapterSettings(hidden_size=64), 16, 32, seed=0)
    embeddings = 3 * torch.randn(len(vocabulary) - 1, 32, generator=torch.Generator().manual_seed(1))
    head = CtcHead(embeddings)
    settings = WarmupSettings(epochs=40, batch_size=8, learning_rate=1e-2)
    list(train_ctc(adapter, head, planted(vocabulary, 24, seed=0), settings, 0))
    return adapter, head, embeddings


def test_a_posterior_adapter_puts_the_embedding_of_what_was_said_on_its_position_and_nothing_on_the_others(
    vocabulary, ear
):
    adapter, head, embeddings = ear
    posterior = PosteriorAdapter.of(adapter, head, embeddings)
    [new] = planted(vocabulary, 1, seed=9)
    with torch.no_grad():
        [outputs], [length] = posterior(torch.from_numpy(new.read())[None], torch.tensor([new.frames]))
    said = [c - 1 for c in new.classes]
    assert length == 2 * len(said)
    close = torch.nn.functional.cosine_similarity(outputs[:, None], embeddings[None], dim=-1)
    norms, expected = outputs.norm(dim=-1), embeddings[said].norm(dim=-1)
    heard = norms > 0.5 * expected.min()
    labels = torch.unique_consecutive(close[heard].argmax(dim=1)).tolist()
    assert labels == torch.unique_consecutive(torch.tensor(said)).tolist()
    assert (close[heard].max(dim=1).values > 0.95).all() and (norms[~heard] < 0.2 * expected.min()).all()


def test_a_collapsed_posterior_is_one_vector_for_each_token_heard(vocabulary, ear):
    adapter, head, embeddings = ear
    posterior = PosteriorAdapter.of(adapter, head, embeddings, collapse=True)
    new = planted(vocabulary, 6, seed=9)
    with torch.no_grad():
        outputs, lengths, starts = posterior.timed(*padded_features([one.read() for one in new]))
        alone = [posterior(*padded_features([one.read()]))[0][0] for one in new]
    assert lengths.tolist() == [len(one.classes) for one in new]
    for row, one in enumerate(new):
        vectors = outputs[row, : lengths[row]]
        assert outputs[row, lengths[row] :].abs().sum() == 0
        torch.testing.assert_close(vectors, alone[row][: lengths[row]])
        close = torch.nn.functional.cosine_similarity(vectors[:, None], embeddings[None], dim=-1)
        assert (close.argmax(dim=1) + 1).tolist() == one.classes and close.max(dim=1).values.min() > 0.95
        assert starts[row, : lengths[row]].tolist() == list(range(0, 2 * len(one.classes), 2))


@pytest.mark.parametrize("blank", [0.0, 95.0, 200.0])
def test_an_utterance_that_is_surely_blank_has_the_mean_of_what_else_it_may_be_and_a_gradient(blank):
    torch.manual_seed(0)
    embeddings = 3 * torch.randn(7, 16)
    projection, head = new_adapter(AdapterSettings(hidden_size=8, stack=3), 4, 16, 0), CtcHead(embeddings)
    head.bias.data.fill_(blank)
    adapter = PosteriorAdapter.of(projection, head, embeddings, collapse=True)
    features, lengths = torch.randn(2, 30, 4), torch.tensor([30, 12])
    with torch.no_grad():
        logits, _ = adapter.logits(features, lengths)
        exact = logits.double()
        exact[..., 0] = -torch.inf  # what is left of the posterior, in the same proportions
        shares = logits[..., 1:].double().logsumexp(-1) - logits.double().logsumexp(-1)
    vectors, counts = adapter(features, lengths)
    vectors.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in adapter.parameters() if parameter.grad is not None)
    if blank:
        assert counts.tolist() == [1, 1]
        for row, n in ((0, 10), (1, 4)):
            means = exact[row, :n, 1:].softmax(-1) @ embeddings.double()
            expected = (shares[row, :n].softmax(0)[:, None] * means).sum(0)
            torch.testing.assert_close(vectors[row, 0].double(), expected, rtol=1e-4, atol=1e-5)


def test_runs_end_where_the_token_changes_and_silence_alone_is_one_run():
    best = torch.tensor([[2, 2, 0, 2, 3, 3], [0, 0, 0, 0, 5, 5], [7, 0, 0, 0, 0, 0]])
    runs = token_runs(best, torch.tensor([6, 4, 1]))
    assert [[one.nonzero()[:, 0].tolist() for one in row if one.any()] for row in runs] == [
        [[0, 1], [3], [4, 5]],
        [[0, 1, 2, 3]],
        [[0]],
    ]


def test_utterances_shorter_than_their_labels_are_left_out():
    def utterance(n_frames, classes):
        return Utterance(n_frames, classes, "", lambda: np.zeros((n_frames, 4), dtype=np.float32))

    assert positions_needed([1, 2, 3]) == 3
    assert positions_needed([1, 1, 1]) == 5
    fits, short, doubled, silent = (
        utterance(11, [1, 2, 3]),
        utterance(10, [1, 2, 3]),
        utterance(15, [1, 1, 2]),
        utterance(50, []),
    )
    assert possible([fits, short, doubled, silent], stack=5) == [fits]


def test_loss_counts_real_positions_only_and_impossible_rows_as_zero():
    logits = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([4, 2])
    together, count = ctc_nll(logits, lengths, [[1, 2], [1, 2, 3]])
    alone, _ = ctc_nll(logits[:1, :4], lengths[:1], [[1, 2]])
    assert count == 5
    torch.testing.assert_close(together, alone)
    assert torch.isfinite(together)


def test_greedy_decoding_merges_repeats_drops_blanks_and_stops_at_the_length():
    best = torch.tensor([[1, 1, 0, 1, 2, 2, 3, 3]])
    logits = torch.nn.functional.one_hot(best, 4).float()
    assert greedy_classes(logits, torch.tensor([6])) == [[1, 1, 2]]


def test_rescaling_is_exact(vocabulary):
    utterances = planted(vocabulary, 6, seed=4)
    adapter = new_adapter(AdapterSettings(hidden_size=8), 16, 32, seed=0)

    def mean_norm():
        with torch.no_grad():
            rows = [adapter(torch.from_numpy(u.read())[None], torch.tensor([u.frames]))[0] for u in utterances]
        return torch.cat([row[0] for row in rows]).norm(dim=-1).mean().item()

    before = mean_norm()
    factor = rescale(adapter, utterances, 3.2)
    assert mean_norm() == pytest.approx(3.2, rel=1e-5)
    assert factor == pytest.approx(3.2 / before, rel=1e-5)


def test_the_step_writes_adapter_and_log(instructions, recipe, tmp_path):
    adapter, log = tmp_path / "adapter.safetensors", tmp_path / "log.csv"
    questions, manifest, features, _, backbone = instructions.paths()
    values = recipe(warmup="ctc", ctc={"epochs": 10, "batch_size": 5, "learning_rate": 3e-3})
    warm_up_adapter(questions, manifest, features, backbone, adapter, log, recipe=values, seed=5)
    rows = read_table(log, "warmup_log").to_dict("records")
    assert [row["epoch"] for row in rows] == list(range(1, 11))
    assert rows[-1]["ctc_loss"] < rows[0]["ctc_loss"] - 0.5
    assert rows[0]["n_train"] == 10 and rows[0]["n_heldout"] == 2 and rows[0]["n_impossible"] == 0
    with safe_open(adapter, framework="pt") as file:
        assert json.loads(file.metadata()["adapter"])["d_hidden"] == 24
        assert json.loads(file.metadata()["provenance"])["seed"] == 5
        assert file.get_tensor("down.weight").shape == (24, 5 * 16)
    with pytest.raises(ArtifactError, match="warmup is 'none'"):
        warm_up_adapter(questions, manifest, features, backbone, adapter, log, recipe=recipe(), seed=5)


def test_the_step_writes_a_posterior_adapter_that_training_starts_from(instructions, recipe, tmp_path):
    adapter = tmp_path / "adapter.safetensors"
    questions, manifest, features, _, backbone = instructions.paths()
    values = recipe(warmup="ctc", ctc={"epochs": 2, "batch_size": 5}, adapter={"output": "posterior"})
    warm_up_adapter(questions, manifest, features, backbone, adapter, tmp_path / "log.csv", recipe=values, seed=5)
    entry = TrainedModel(family="composite", backbone="b", encoder="e", strategy="lora", recipe="r", seed=5)
    settings = RecipeSettings.model_validate(values)
    with safe_open(adapter, "pt") as file:
        width = json.loads(file.metadata()["adapter"])["d_encoder"]
    lslm = new_lslm(backbone, width, entry, settings, adapter)
    save_lslm(tmp_path / "step", lslm, step=0, seed=5, facts={})
    again = load_lslm(tmp_path / "step", backbone)
    assert isinstance(again.adapter, PosteriorAdapter)
    for name, tensor in again.adapter.state_dict().items():
        assert torch.equal(tensor, lslm.adapter.state_dict()[name]), name


def test_a_posterior_that_ctc_never_trains_is_refused(recipe):
    with pytest.raises(ValueError, match="'posterior', which CTC trains; warmup is 'none' and objective 'answers'"):
        RecipeSettings.model_validate(recipe(warmup="none", adapter={"output": "posterior"}))
