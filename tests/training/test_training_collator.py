"""Rows and labels of a batch, token by token; and that padding and neighbours do not change a row's loss."""

import numpy as np
import pytest
import torch

from workflow_scripts.artifacts.features import FeatureReader
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.settings.families.composite import TrainedModel
from workflow_scripts.settings.training import RecipeSettings
from workflow_scripts.speech_lm.families.composite import load_composite
from workflow_scripts.speech_lm.protocol import Speech
from workflow_scripts.training.collator import Collator
from workflow_scripts.training.dataset import (
    Instruction,
    InstructionDataset,
    Sample,
    kept_questions,
    load_instructions,
    split_of,
)
from workflow_scripts.training.initial_model import new_lslm

COLLATOR = Collator(prefix=(101, 102), suffix=(103,), end_id=9, stack=5)


def sample(answer, *, ended, frames=None):
    features = None if frames is None else np.full((frames, 3), 2.0, dtype=np.float32)
    return Sample(Instruction("train-0", (101, 102, 55, 56, 103), tuple(answer), ended, frames or 0), features)


def test_labels_are_the_answer_and_the_end_token_only_if_the_answer_ended():
    batch = COLLATOR([sample([11, 12], ended=True, frames=11), sample([13], ended=False)])
    ids, labels, mask = batch["input_ids"], batch["labels"], batch["speech_mask"]
    # Spoken: 2 prefix, ceil(11 / 5) = 3 speech positions, 1 suffix, then the answer with its end token.
    assert ids[0, [0, 1, 5, 6, 7, 8]].tolist() == [101, 102, 103, 11, 12, 9]
    assert mask[0].nonzero().flatten().tolist() == [2, 3, 4]
    assert labels[0].tolist() == [-100] * 6 + [11, 12, 9] + [-100] * 7
    # Written: cut off by the length limit, so no end token is trained.
    assert ids[1, :6].tolist() == [101, 102, 55, 56, 103, 13]
    assert not mask[1].any()
    assert labels[1].tolist() == [-100] * 5 + [13] + [-100] * 10


def test_features_are_padded_to_whole_seconds_with_true_lengths():
    batch = COLLATOR(
        [sample([11], ended=True, frames=51), sample([11], ended=True), sample([11], ended=True, frames=7)]
    )
    assert batch["features"].shape == (2, 100, 3)
    assert batch["feature_lengths"].tolist() == [51, 7]
    assert batch["features"][1].sum() == 7 * 3 * 2.0
    assert "features" not in COLLATOR([sample([11], ended=True)])


def test_held_out_collator_leaves_the_end_token_out():
    collator = Collator(prefix=(101, 102), suffix=(103,), end_id=9, stack=5, train_end=False)
    labels = collator([sample([11, 12], ended=True)])["labels"]
    assert labels[labels != -100].tolist() == [11, 12]


@pytest.fixture(scope="module")
def parts(instructions, recipe, model_entry):
    """(LSLM in eval mode, dataset, collator of its template, SpeechLM of the same backbone)."""
    settings = RecipeSettings.model_validate(recipe())
    lslm = new_lslm(
        instructions.backbone, 16, TrainedModel.model_validate(model_entry(strategy="full")), settings, None
    ).eval()
    speech_lm = load_composite(backbone=instructions.backbone, checkpoint=None, encoder=None, dtype="float32")
    reader = FeatureReader(instructions.features)
    questions = QUESTIONS.read(instructions.questions)
    loaded = load_instructions(questions, instructions.answers, reader, speech_lm.template)
    collator = Collator(*speech_lm.template.ids, end_id=speech_lm.tokenizer.eos_token_id, stack=5)
    return lslm, InstructionDataset(loaded, reader), collator, speech_lm


def test_the_loss_of_a_row_does_not_depend_on_its_batch(parts):
    lslm, data, collator, _ = parts
    rows = [0, len(data) // 2 + 3, 7, len(data) - 1]
    with torch.no_grad():
        together = lslm(**collator([data[row] for row in rows]))
        alone = torch.cat([lslm(**collator([data[row]])).token_nll for row in rows])
    torch.testing.assert_close(together.token_nll, alone, rtol=1e-4, atol=1e-5)


def test_rows_are_the_queries_that_evaluation_builds(parts):
    """Planted check across modules: training positions equal those of `encode_text` and `encode_speech`."""
    lslm, data, collator, speech_lm = parts
    speech_lm.lslm.adapter = lslm.adapter
    question_id = data.instructions[4].id
    spoken, written = data[4], data[len(data) // 2 + 4]
    batch = collator([spoken, written])
    speech = {name: batch[name] for name in ("features", "feature_lengths", "speech_mask")}
    embedded, _, _ = lslm.embed(batch["input_ids"], **speech)
    seconds = len(spoken.features) / 50
    heard = speech_lm.encode_speech(Speech(None, 16_000, seconds, spoken.features))
    torch.testing.assert_close(embedded[0, : heard.length].detach(), heard.inputs["inputs_embeds"][0])
    assert batch["speech_mask"][0].nonzero().flatten().tolist() == list(range(*heard.span))
    prompt = {"train-00004": "birds can fly e"}[question_id]
    read = speech_lm.encode_text(prompt)
    assert batch["input_ids"][1, : read.length].tolist() == read.inputs["input_ids"][0].tolist()


def test_a_benchmark_question_is_refused_as_training_prompt(instructions):
    question = QUESTIONS.read(instructions.questions)[0].model_copy(update={"id": "mmlu-7"})
    with pytest.raises(ArtifactError, match=r"'mmlu-7'.*questions\.jsonl of the instructions"):
        split_of(question)


@pytest.mark.parametrize("shortened", ["manifest", "questions"])
def test_a_manifest_and_questions_of_different_counts_are_refused(instructions, tmp_path, shortened):
    paths = {"questions": instructions.questions, "manifest": instructions.manifest}
    schema = {"questions": QUESTIONS, "manifest": UTTERANCES}[shortened]
    rows = schema.read(paths[shortened])
    paths[shortened] = tmp_path / "short.jsonl"
    schema.write(paths[shortened], [row for row in rows if row.id != "train-00003"], {})
    with pytest.raises(ArtifactError, match=r"short\.jsonl: 1 id\(s\) of .* are missing, .*\['train-00003'\]"):
        kept_questions(paths["questions"], paths["manifest"], FeatureReader(instructions.features))
