"""Answering steps: every form of every kept question, each distinct prompt asked once, checks before any model."""

import numpy as np
import pytest
import torch

from workflow_scripts.artifacts.answers import ANSWERS
from workflow_scripts.artifacts.asset_record import AssetRecord, SourceRecord, write_asset_record
from workflow_scripts.artifacts.features import write_features
from workflow_scripts.artifacts.files import ArtifactError, sha256_text
from workflow_scripts.artifacts.kept import read_shard
from workflow_scripts.artifacts.partial import PartialBatches
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.evaluation import answer_questions as tuned
from workflow_scripts.evaluation import answer_questions_base as base
from workflow_scripts.evaluation.answering import answer_queries, answer_texts
from workflow_scripts.settings.analysis import EvaluationSettings
from workflow_scripts.speech_lm.opening.open_model import LoadedModel, ModelSource
from workflow_scripts.speech_lm.protocol import Answer, AnswerLoss, OptionLogProbs, Query, ScoringRequest, SpeechLM


class FakeLM:
    """Answers 'T:<text>' or 'S:<first feature>'; the cost of a reference is its length times the query's length.

    The letters of option k have ln p = -k - length, its text -length.
    """

    def __init__(self):
        self.device, self.dtype = torch.device("cpu"), torch.float32
        self.generated, self.costed, self.batches, self.chosen = [], [], [], []

    def tokenizer(self, text, add_special_tokens):
        assert add_special_tokens is False
        return {"input_ids": text.split()}

    def encode_text(self, text):
        return self._query(f"T:{text}", len(text), "text")

    def encode_speech(self, speech):
        assert speech.waveform is None
        assert speech.seconds == len(speech.features) / 50
        return self._query(f"S:{speech.features[0, 0]:g}", len(speech.features), "speech")

    def _query(self, label, length, form):
        return Query({"label": label}, length, (0, 1), ("x",), None, None, None, form)

    def generate(self, queries, *, max_new_tokens):
        self.batches.append([query.length for query in queries])
        labels = [query.inputs["label"] for query in queries]
        self.generated += labels
        texts = [label[:max_new_tokens] for label in labels]
        return [Answer(text, tuple(map(ord, text)), "stop", 0.5) for text in texts]

    generate_and_score, _score = SpeechLM.generate_and_score, SpeechLM._score

    def answer_loss(self, queries, answers):
        self.costed += [(query.inputs["label"], answer) for query, answer in zip(queries, answers)]
        return [AnswerLoss(float(len(a) * q.length), len(a.split())) for q, a in zip(queries, answers)]

    def option_log_probs(self, queries, options, references):
        self.chosen += [(query.inputs["label"], texts) for query, texts in zip(queries, options)]
        losses = self.answer_loss(queries, references)
        return [
            OptionLogProbs(
                tuple(-float(k + q.length) for k in range(len(texts))),
                (-float(q.length),) * len(texts),
                tuple(len(text.split()) for text in texts),
                loss,
            )
            for q, texts, loss in zip(queries, options, losses)
        ]


QUESTION = Question(
    id="q0",
    subset="s",
    prompt="What is zero?",
    spoken="What is zero",
    reference=["nothing at all"],
    scorer="short_answer",
    source={},
)
UTTERANCE = Utterance(
    id="q0", audio="a.flac", sha256="0", seconds=0.1, sample_rate=24_000, transcript="", kept=True, attempts=1
)
TRANSCRIPTS = ["What is zero?", "what is one", "  ", "dropped", "what is one"]
SETTINGS = {"batch_size": 2, "max_positions": 100}


@pytest.fixture
def files(tmp_path):
    return write_files(tmp_path)


def write_files(tmp_path):
    """Five questions: q0 heard exactly, q2 heard as nothing, q3 dropped, q4 heard as q1 is."""
    prompts = ["What is zero?", "What is one?", "What is two?", "What is three?", "What is four?"]
    questions = [QUESTION.model_copy(update={"id": f"q{k}", "prompt": prompt}) for k, prompt in enumerate(prompts)]
    utterances = [
        UTTERANCE.model_copy(update={"id": f"q{k}", "transcript": heard, "kept": k != 3})
        for k, heard in enumerate(TRANSCRIPTS)
    ]
    paths = {name: tmp_path / name for name in ("questions", "manifest", "features")}
    QUESTIONS.write(paths["questions"], questions, {})
    UTTERANCES.write(paths["manifest"], utterances[::-1], {})
    kept = ["q4", "q0", "q1", "q2"]
    lengths = [5, 7, 6, 5]
    blocks = [(k, np.full((n, 3), int(kept[k][1]), np.float32)) for k, n in enumerate(lengths)]
    write_features(paths["features"], kept, [n / 50 for n in lengths], lengths, 3, blocks, {})
    record = AssetRecord(
        name="tiny-lm",
        format="files",
        licence="none",
        source=SourceRecord(kind="path", path="x", format="files"),
        files={},
    )
    paths["asset"] = write_asset_record(tmp_path, record)
    return paths


def source(weights, asset):
    return ModelSource(weights, "step-000400", {"name": "m", "family": "composite"}, backbone=asset, encoder=asset)


def ask(files, out, monkeypatch, **changes):
    """Run the tuned step with a fake model; returns the model and the records by form."""
    lm = FakeLM()
    facts = {"model": "m", "checkpoint": "step-000400", "dtype": "float32"}
    monkeypatch.setattr(tuned, "open_model", lambda *_, **__: LoadedModel(lm, facts))
    options = {"shard": "00-of-01", "max_new_tokens": 99, "evaluation": SETTINGS, "seed": 0} | changes
    outputs = {form: out / f"{form}.jsonl" for form in ("text", "speech", "asr")}
    model = source(out / "checkpoints.json", files["asset"])
    read = (files["questions"], files["manifest"], files["features"], model)
    tuned.answer_questions(*read, *outputs.values(), PartialBatches(outputs["text"], "of this run"), **options)
    return lm, {form: ANSWERS.read_with_header(path) for form, path in outputs.items()}


def test_every_form_holds_the_kept_questions_in_order_with_its_own_answers(files, tmp_path, monkeypatch):
    _, found = ask(files, tmp_path, monkeypatch)
    answers = {form: [record.answer for record in records] for form, (records, _) in found.items()}
    for form, (records, header) in found.items():
        assert [record.id for record in records] == ["q0", "q1", "q2", "q4"]
        assert {record.form for record in records} == {form}
        assert header["provenance"]["dropped"] == ["q3"]
        assert header["provenance"]["form"] == form
        assert header["provenance"]["shard"] == "00-of-01"
    assert answers["text"] == ["T:What is zero?", "T:What is one?", "T:What is two?", "T:What is four?"]
    assert answers["speech"] == ["S:0", "S:1", "S:2", "S:4"]
    assert answers["asr"] == ["T:What is zero?", "T:what is one", "", "T:what is one"]


def test_a_prompt_shared_by_forms_or_questions_is_asked_once_and_has_one_hash(files, tmp_path, monkeypatch):
    lm, found = ask(files, tmp_path, monkeypatch)
    written = [label for label in lm.generated if label.startswith("T:")]
    prompts = ["What is zero?", "What is one?", "What is two?", "What is four?", "what is one"]
    assert sorted(written) == sorted(f"T:{prompt}" for prompt in prompts)
    text, asr = found["text"][0], found["asr"][0]
    assert text[0].model_dump(exclude={"form"}) == asr[0].model_dump(exclude={"form"})
    assert asr[1].prompt_hash == asr[3].prompt_hash == sha256_text("what is one")[:16]
    assert text[1].prompt_hash != asr[1].prompt_hash


def test_an_empty_transcript_is_kept_with_an_empty_answer(files, tmp_path, monkeypatch):
    _, found = ask(files, tmp_path, monkeypatch)
    record = found["asr"][0][2]
    assert (record.answer, record.finish_reason, record.token_ids, record.seconds) == ("", "empty", [], 0)
    assert (record.reference_nll, record.reference_tokens) == (None, 0)


def test_reference_cost_belongs_to_the_query_of_its_form(files, tmp_path, monkeypatch):
    _, found = ask(files, tmp_path, monkeypatch)
    reference = len("nothing at all")
    by_form = {form: records[0] for form, (records, _) in found.items()}
    assert by_form["text"].reference_nll == reference * len("What is zero?")
    assert by_form["speech"].reference_nll == reference * 7
    assert by_form["text"].reference_tokens == by_form["speech"].reference_tokens == 3


def test_questions_without_reference_have_no_cost(files, tmp_path, monkeypatch):
    changes = {"scorer": "refusal", "reference": []}
    questions = [question.model_copy(update=changes) for question in QUESTIONS.read(files["questions"])]
    QUESTIONS.write(files["questions"], questions, {})
    lm, found = ask(files, tmp_path, monkeypatch)
    assert lm.costed == []
    assert {record.reference_nll for records, _ in found.values() for record in records} == {None}


def test_batches_respect_the_limits_and_results_do_not_depend_on_them(files, tmp_path, monkeypatch):
    (tmp_path / "b").mkdir()
    small, one = ask(files, tmp_path, monkeypatch, evaluation={"batch_size": 2, "max_positions": 20})
    large, other = ask(files, tmp_path / "b", monkeypatch, evaluation={"batch_size": 50, "max_positions": 10_000})
    assert all(len(batch) <= 2 and (len(batch) == 1 or len(batch) * max(batch) <= 20) for batch in small.batches)
    assert max(map(len, large.batches)) == 5
    for form in one:
        assert one[form][0] == other[form][0]


def test_shards_split_the_questions_without_loss(files, tmp_path, monkeypatch):
    found = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        _, records = ask(files, tmp_path / str(number), monkeypatch, shard=f"{number:02d}-of-02", seed=3)
        found += [record.id for record in records["speech"][0]]
    assert sorted(found) == ["q0", "q1", "q2", "q4"]


@pytest.mark.parametrize(("file", "schema"), [("manifest", UTTERANCES), ("questions", QUESTIONS)])
def test_ids_missing_from_a_file_are_named_with_the_file_before_the_model_is_loaded(files, tmp_path, file, schema):
    schema.write(files[file], [row for row in schema.read(files[file]) if row.id != "q1"], {})
    asset = files["asset"]
    outputs = [tmp_path / form for form in ("text", "speech", "asr")]
    with pytest.raises(ArtifactError, match=rf"{files[file]}: 1 id\(s\) of .* are missing, the first are \['q1'\]"):
        # asset is no checkpoint index: loading a model from it would fail in another way
        tuned.answer_questions(
            *(files[name] for name in ("questions", "manifest", "features")),
            source(asset, asset),
            *outputs,
            PartialBatches(outputs[0], "of this run"),
            shard="00-of-01",
            max_new_tokens=9,
            evaluation=SETTINGS,
            seed=0,
        )


def test_audio_without_features_is_named_with_the_feature_file(files, tmp_path, monkeypatch):
    write_features(files["features"], ["q0"], [0.1], [5], 3, [(0, np.zeros((5, 3), np.float32))], {})
    with pytest.raises(ArtifactError, match=r"features: 3 id\(s\) of .*manifest are missing.*'q1', 'q2', 'q4'"):
        ask(files, tmp_path, monkeypatch)


def test_a_kept_utterance_without_transcript_is_an_error(files):
    rows = [row.model_copy(update={"transcript": None}) for row in UTTERANCES.read(files["manifest"])]
    UTTERANCES.write(files["manifest"], rows, {})
    with pytest.raises(ArtifactError, match=r"\['q0', 'q1', 'q2', 'q4'\] have no transcript; run the ASR step"):
        read_shard(files["questions"], files["manifest"], "00-of-01", 0)


def test_a_shard_whose_questions_were_all_dropped_says_where_to_look(files):
    rows = [row.model_copy(update={"kept": False}) for row in UTTERANCES.read(files["manifest"])]
    UTTERANCES.write(files["manifest"], rows, {})
    with pytest.raises(ArtifactError, match=r"manifest: none of the 5 question\(s\) of shard 00-of-01 was kept"):
        read_shard(files["questions"], files["manifest"], "00-of-01", 0)


def test_backbone_answers_text_and_asr_like_a_tuned_model_would(files, tmp_path, monkeypatch):
    lm = FakeLM()
    monkeypatch.setattr(base, "load_composite", lambda **_: lm)
    paths = {form: tmp_path / f"base.{form}" for form in ("text", "asr")}
    base.answer_questions_base(
        *(files[name] for name in ("questions", "manifest", "asset")),
        *paths.values(),
        PartialBatches(paths["text"], "of this run"),
        checkpoint="base",
        shard="00-of-01",
        max_new_tokens=99,
        evaluation=SETTINGS,
        system_prompt=None,
        seed=0,
    )
    _, found = ask(files, tmp_path, monkeypatch)
    for form, path in paths.items():
        records, header = ANSWERS.read_with_header(path)
        assert records == found[form][0]
        assert (header["provenance"]["model"], header["provenance"]["checkpoint"]) == ("tiny-lm", "base")


def test_options_of_a_question_belong_to_the_query_of_its_form(files, tmp_path, monkeypatch):
    changes = {"scorer": "multiple_choice", "reference": ["B"], "options": ["a lake", "desert"]}
    questions = [question.model_copy(update=changes) for question in QUESTIONS.read(files["questions"])]
    QUESTIONS.write(files["questions"], questions, {})
    lm, found = ask(files, tmp_path, monkeypatch)
    by_form = {form: records[0].options for form, (records, _) in found.items()}
    assert by_form["text"].letters == [-13, -14]
    assert by_form["speech"].letters == [-7, -8]
    assert by_form["speech"].texts == [-7, -7]
    assert by_form["asr"] == by_form["text"]
    assert by_form["text"].text_tokens == [2, 1]
    reference = len("B. desert")
    assert by_form["speech"] is not None and found["speech"][0][0].reference_nll == reference * 7
    assert found["text"][0][0].reference_nll == reference * len("What is zero?")
    assert found["text"][0][0].reference_tokens == 2
    assert found["asr"][0][2].options is None, "nothing was heard, so nothing was asked"
    assert sorted(lm.costed)[0][1] == "B. desert"
    assert len(lm.chosen) == len(set(lm.chosen)) == 4 + 5


def test_options_can_be_left_out_and_other_scorers_have_none(files, tmp_path, monkeypatch):
    lm, _ = ask(files, tmp_path, monkeypatch)
    assert lm.chosen == []
    changes = {"scorer": "multiple_choice", "reference": ["B"], "options": ["a lake", "desert"]}
    questions = [question.model_copy(update=changes) for question in QUESTIONS.read(files["questions"])]
    QUESTIONS.write(files["questions"], questions, {})
    lm, found = ask(files, tmp_path, monkeypatch, evaluation=SETTINGS | {"option_log_probs": False})
    assert lm.chosen == []
    assert {record.options for records, _ in found.values() for record in records} == {None}


def test_one_prompt_with_two_references_is_answered_once_and_costed_twice():
    lm = FakeLM()
    one, two, none = ScoringRequest("one"), ScoringRequest("two words"), ScoringRequest()
    found = answer_texts(lm, [("a", one), ("a", two), ("a", none), ("a", one)], EvaluationSettings(), 9)
    assert lm.generated == ["T:a"]
    assert sorted(lm.costed) == [("T:a", "one"), ("T:a", "two words")]
    assert found["a", two].loss == AnswerLoss(9.0, 2)
    assert found["a", none].loss is None


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="empty prompt"):
        answer_texts(FakeLM(), [(" ", ScoringRequest())], EvaluationSettings(), 9)


def test_the_longest_answer_length_reaches_the_model():
    found = answer_texts(FakeLM(), [("long prompt", ScoringRequest())], EvaluationSettings(), 3)
    assert found["long prompt", ScoringRequest()].answer.text == "T:l"


@pytest.mark.parametrize(("max_positions", "again"), [(1000, set()), (24, {2, 3})])
def test_queries_are_encoded_once_as_long_as_the_positions_of_a_batch_hold_them(max_positions, again):
    lm, encoded = FakeLM(), []
    prompts = ["a question", "two words", "the third", "one more"]

    def encoder(number):
        return lambda: encoded.append(number) or lm.encode_text(prompts[number])

    settings = EvaluationSettings(max_positions=max_positions)
    assert sum(lm.encode_text(prompt).length for prompt in prompts[:2]) <= 24 < 1000
    answer_queries(lm, [encoder(number) for number in range(4)], [[]] * 4, settings, 3, "test")
    assert sorted(encoded) == sorted([0, 1, 2, 3, *again])
