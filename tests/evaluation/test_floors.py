"""What a model scores without listening: silence and the audio of another question, and the table of floors."""

import numpy as np
import pytest
import soundfile

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION, SETTINGS, UTTERANCE, FakeLM
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.features import FeatureReader, write_features
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.kept import ShardQuestions
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.scores import ScoreFile
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES
from workflow_scripts.evaluation import answer_floors as floors
from workflow_scripts.evaluation.build_floor_table import build_floor_table
from workflow_scripts.evaluation.build_gap_table import build_gap_table
from workflow_scripts.evaluation.score_answers import score_form
from workflow_scripts.speech import encode_silence as silence
from workflow_scripts.speech_lm.opening.open_model import LoadedModel, ModelSource

N = 12


@pytest.fixture
def files(tmp_path):
    """Questions whose features hold their number, and silence whose features are -1."""
    questions = [QUESTION.model_copy(update={"id": f"q{k}", "prompt": f"What is {k}?"}) for k in range(N)]
    lengths = [5 + 3 * k for k in range(N)]
    utterances = [
        UTTERANCE.model_copy(update={"id": f"q{k}", "transcript": "x", "seconds": lengths[k] / 50}) for k in range(N)
    ]
    paths = {name: tmp_path / name for name in ("questions", "manifest", "features", "silent")}
    QUESTIONS.write(paths["questions"], questions, {})
    UTTERANCES.write(paths["manifest"], utterances, {})
    for name, value in (("features", lambda k: k), ("silent", lambda k: -1)):
        blocks = [(k, np.full((n, 3), value(k), np.float32)) for k, n in enumerate(lengths)]
        write_features(paths[name], [f"q{k}" for k in range(N)], [n / 50 for n in lengths], lengths, 3, blocks, {})
    return paths


def ask(files, out, monkeypatch, seed=0):
    lm = FakeLM()
    monkeypatch.setattr(floors, "open_model", lambda *_, **__: LoadedModel(lm, {"model": "m", "checkpoint": "final"}))
    floors.answer_floors(
        *(
            files["questions"],
            files["manifest"],
            files["features"],
            files["silent"],
            ModelSource(out / "checkpoints.json", "final", {"name": "m", "family": "composite"}),
        ),
        *(out / "silence.jsonl", out / "other.jsonl"),
        PartialBatches(out / "silence.jsonl", "of this run"),
        **{"shard": "00-of-01", "max_new_tokens": 9, "evaluation": SETTINGS, "seed": seed},
    )
    return [ANSWERS.read(out / f"{form}.jsonl") for form in ("silence", "other")]


def test_silence_of_other_questions_is_refused_by_name(files, tmp_path, monkeypatch):
    write_features(files["silent"], ["z"], [0.1], [5], 3, [(0, np.zeros((5, 3), np.float32))], {})
    with pytest.raises(ArtifactError, match=r"silent: 12 id\(s\) of .*manifest are missing"):
        ask(files, tmp_path, monkeypatch)


def test_silence_is_heard_by_every_question_and_other_audio_is_never_its_own(files, tmp_path, monkeypatch):
    quiet, other = ask(files, tmp_path, monkeypatch)
    assert {record.answer for record in quiet} == {"S:-1"}
    heard = [int(record.answer.removeprefix("S:")) for record in other]
    assert sorted(heard) == list(range(N)), "each clip stands in for one question"
    assert all(place != number for place, number in enumerate(heard))
    assert [record.id for record in other] == [f"q{k}" for k in range(N)]


def test_partners_depend_on_the_seed_and_are_of_like_length(files, tmp_path, monkeypatch):
    first, again = ask(files, tmp_path, monkeypatch)[1], ask(files, tmp_path, monkeypatch)[1]
    assert [record.answer for record in first] == [record.answer for record in again]
    changed = ask(files, tmp_path, monkeypatch, seed=3)[1]
    assert [record.answer for record in first] != [record.answer for record in changed]


def test_references_and_their_cost_are_those_of_the_question_that_is_asked(files, tmp_path, monkeypatch):
    quiet, _ = ask(files, tmp_path, monkeypatch)
    assert [record.reference_nll for record in quiet] == [float(len("nothing at all") * (5 + 3 * k)) for k in range(N)]


def test_a_single_question_has_no_other(tmp_path):
    alone = ShardQuestions([(QUESTION, UTTERANCE)], [])
    with pytest.raises(ArtifactError, match=r"set evaluation\.floors to false"):
        floors.other_questions(alone, 0, tmp_path / "manifest.jsonl")


def test_a_model_that_hears_the_audio_itself_hears_zeros_of_its_length(tmp_path):
    soundfile.write(tmp_path / "a.flac", np.full(4000, 0.2), 16_000)
    UTTERANCES.write(
        tmp_path / "manifest.jsonl", [UTTERANCE.model_copy(update={"transcript": "x", "sha256": None})], {}
    )
    found = floors.SilentAudio(floors.open_speech(tmp_path / "manifest.jsonl", None)).speech("q0")
    assert found.waveform.shape == (4000,) and not found.waveform.any() and found.seconds == 0.25


class FakeEncoder:
    """Two frames a window of 100 samples... as WhisperFeatures cuts them: one frame for 320 samples."""

    width, window, dtype, encoded = 3, 32_000, "torch.float32", []

    def __init__(self, *_, **__):
        FakeEncoder.encoded = []

    def encode(self, waves):
        import torch

        FakeEncoder.encoded += [len(wave) for wave in waves]
        assert not any(wave.any() for wave in waves)
        return [torch.arange(-(-len(wave) // 320) * 3).reshape(-1, 3) / 100 for wave in waves]


def test_silence_is_encoded_once_for_each_padded_length(tmp_path, monkeypatch):
    monkeypatch.setattr(silence, "WhisperFeatures", FakeEncoder)
    seconds = [0.5, 1.9, 1.0, 3.0]
    rows = [UTTERANCE.model_copy(update={"id": f"q{k}", "seconds": length}) for k, length in enumerate(seconds)]
    SYNTHESIS.write(tmp_path / "synthesis.jsonl", rows, {})
    silence.encode_silence(
        tmp_path / "synthesis.jsonl", tmp_path / "whisper" / "asset.json", tmp_path / "s.h5", window_seconds=2
    )
    assert FakeEncoder.encoded == [30_400, 48_000], "one for the clips within a window, one for two windows"
    read = FeatureReader(tmp_path / "s.h5")
    assert [len(read[f"q{k}"]) for k in range(4)] == [25, 95, 50, 150]
    np.testing.assert_array_equal(read["q0"], read["q1"][:25])


def test_floors_stand_beside_the_spoken_score_with_paired_differences(tmp_path):
    scores = [
        write(tmp_path, "a", "speech", [1, 1, 1, 0] * 10),
        write(tmp_path, "a", "silence", [1, 0, 0, 0] * 10),
        write(tmp_path, "a", "other", [1, 1, 1, 0] * 10),
    ]
    build_floor_table(scores, tmp_path / "floors.csv")
    table = read_table(tmp_path / "floors.csv", "floors")

    def row(form):
        (found,) = select(table, form=form, measure="score").to_dict("records")
        return found

    assert [row(form)["value"] for form in ("speech", "silence", "other")] == [75, 25, 75]
    assert row("above_silence")["value"] == 50 and row("above_silence")["low"] > 0
    assert row("above_other")["value"] == 0 and row("above_other")["low"] < 0 < row("above_other")["high"]
    assert select(table, form="silence", measure="unparsed").value.item() == 0.25


def test_scores_of_another_form_in_the_place_of_a_forms_file_are_refused_by_name(tmp_path):
    path = tmp_path / "other.scores.json"
    path.write_bytes(write(tmp_path, "a", "text", [1, 0]).read_bytes())
    with pytest.raises(ArtifactError, match=r"other\.scores\.json: holds scores of form 'text'"):
        build_floor_table([path], tmp_path / "floors.csv")


def test_a_missing_floor_is_named(tmp_path):
    scores = [write(tmp_path, "a", form, [1, 0]) for form in ("speech", "silence")]
    with pytest.raises(ArtifactError, match=r"m/step-000400/a: no scores of other"):
        build_floor_table(scores, tmp_path / "floors.csv")


def test_what_answers_are_whatever_was_asked_is_stored_and_reaches_the_gap_table(tmp_path):
    answers = {"text": ["Vienna.", "Graz."], "speech": ["", "!" * 80]}
    files = []
    for form, texts in answers.items():
        records = {
            f"q{k}": AnswerRecord(
                **{"id": f"q{k}", "form": form, "prompt_hash": "0", "answer": text, "token_ids": []},
                **{"finish_reason": "length", "seconds": 0},
            )
            for k, text in enumerate(texts)
        }
        asked = [QUESTION.model_copy(update={"id": name}) for name in records]
        names = {"model": "m", "checkpoint": "final", "subset": "a", "form": form}
        files.append(tmp_path / f"{form}.scores.json")
        score_form(asked, records, "short_answer", tmp_path, names).write(files[-1])
    file = ScoreFile.read(files[1])
    assert [row.traits for row in file.questions] == [["empty", "truncated"], ["truncated", "degenerate"]]
    tables = [tmp_path / f"{name}.csv" for name in ("gap", "decline", "cascade", "twins")]
    options = {"overall": [], "knowledge": [], "backbones": {}, "twins": {}, "repeats": {}}
    build_gap_table(files, *tables, **options)
    gap = read_table(tables[0], "gap")
    assert select(gap, measure="answers_empty", form="speech").value.item() == 50
    assert select(gap, measure="answers_truncated", form="text").value.item() == 100
    assert select(gap, measure="answers_degenerate", form="gap").value.item() == -50
