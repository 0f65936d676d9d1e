"""VoiceBench in the hub's layout: its rows become questions as published, and its recordings are heard as they are."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.voicebench_folder import DOMAINS, choice_prompt, sound, write_split, write_voicebench
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.utterances import SYNTHESIS
from workflow_scripts.benchmark.build_questions import build_questions
from workflow_scripts.benchmark.voicebench import split_of
from workflow_scripts.settings.benchmark import SubsetSettings
from workflow_scripts.speech.audio import BadAudioError
from workflow_scripts.speech.recordings import decode_audio
from workflow_scripts.speech.synthesize_speech import synthesize_speech

FILES = {
    "obqa": ("openbookqa/test-*.parquet", "multiple_choice"),
    "mmsu": ("mmsu/*.parquet", "multiple_choice"),
    "sd_qa_usa": ("sd-qa/usa-*.parquet", "short_answer"),
    "ifeval": ("ifeval/test-*.parquet", "instruction_following"),
    "advbench": ("advbench/test-*.parquet", "refusal"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_voicebench(tmp_path_factory.mktemp("voicebench"))


def build(folder, out, subset, n=20, **more):
    file, scorer = FILES[subset]
    settings = {
        "asset": "voicebench",
        "file": file,
        "layout": "voicebench",
        "scorer": scorer,
        "max_new_tokens": 8,
    } | more
    paths = out / subset / "questions.jsonl", out / subset / "filters.csv"
    build_questions(folder / "asset.json", *paths, subset=subset, settings=settings, n=n, seed=0)
    return QUESTIONS.read(paths[0])


def speak(folder, out, subset, voice=None):
    manifest = out / subset / "speech" / "synthesis.jsonl"
    synthesize_speech(
        out / subset / "questions.jsonl",
        manifest,
        voice=voice or {"engine": "recorded", "asset": "voicebench"},
        subset=subset,
        max_seconds=30,
        retries=0,
        recordings=folder / "asset.json",
    )
    return SYNTHESIS.read(manifest)


@pytest.mark.parametrize("subset", FILES)
def test_every_row_becomes_a_question_with_its_prompt_untouched_and_its_audio(folder, tmp_path, subset):
    n = 80 if subset == "mmsu" else 20
    questions = build(folder, tmp_path, subset, n=n, rows=n)
    assert len(questions) == n
    assert all(question.spoken == question.prompt and question.source["audio"] for question in questions)


def test_options_and_letters_of_multiple_choice_are_read_from_the_prompt(folder, tmp_path):
    questions = build(folder, tmp_path, "obqa")
    assert questions[5].prompt == choice_prompt(5, "\n")
    assert questions[5].options == ["sand 5", "mud 5", "ash 5", "clay 5"] and questions[5].reference == ["B"]


def test_domains_are_pooled_and_named(folder, tmp_path):
    skills = [question.source["skill"] for question in build(folder, tmp_path, "mmsu", n=80)]
    assert {skill: skills.count(skill) for skill in DOMAINS} == dict.fromkeys(DOMAINS, 20)


def test_arguments_of_instructions_lose_their_padding(folder, tmp_path):
    found = build(folder, tmp_path, "ifeval")[3].instructions
    assert found == [
        {"id": "punctuation:no_comma", "kwargs": {}},
        {"id": "length_constraints:number_words", "kwargs": {"relation": "at least", "num_words": 4}},
    ]


def test_a_region_has_its_own_recordings_of_the_same_questions(folder, tmp_path):
    usa = build(folder, tmp_path / "usa", "sd_qa_usa")
    aus = build(folder, tmp_path / "aus", "sd_qa_usa", file="sd-qa/aus-*.parquet")
    assert [one.prompt for one in usa] == [one.prompt for one in aus]
    assert {one.source["split"] for one in usa} == {"usa"} and {one.source["split"] for one in aus} == {"aus"}
    heard = [speak(folder, tmp_path / name, "sd_qa_usa")[0].sha256 for name in ("usa", "aus")]
    assert heard[0] != heard[1]


def test_published_audio_is_resampled_once_and_never_spoken_again(folder, tmp_path):
    build(folder, tmp_path, "obqa", n=20)
    utterances = speak(folder, tmp_path, "obqa")
    assert all(one.kept and one.source_rate == 24_000 and one.sample_rate == 16_000 for one in utterances)
    samples, rate = soundfile.read(tmp_path / "obqa/speech" / utterances[13].audio)
    spectrum = np.abs(np.fft.rfft(samples))
    assert rate == 16_000 and np.argmax(spectrum) * rate / len(samples) == pytest.approx(213, abs=2)


def test_a_list_of_references_is_a_list_of_accepted_answers(tmp_path):
    rows = [{"audio": {"bytes": sound(1), "path": "1.wav"}, "prompt": "who", "reference": ["King", "The king"]}]
    write_split(tmp_path, "sd-qa", "usa", rows)
    assert build(tmp_path, tmp_path / "out", "sd_qa_usa", n=1)[0].reference == ["King", "The king"]


def test_splits_are_read_from_file_names():
    assert [split_of(f"{name}.parquet") for name in ("ind_n-00000-of-00002", "law", "test-00001-of-00002")] == [
        "ind_n",
        "law",
        "test",
    ]


class Decoder:
    """As datasets >= 4 and torchcodec give it: samples by channel."""

    def __init__(self, samples, rate):
        self.data, self.sample_rate = samples, rate

    def get_all_samples(self):
        return self


def test_audio_is_read_in_every_form_a_data_set_gives_it(tmp_path):
    expected, rate = soundfile.read(io.BytesIO(sound(7)), dtype="float32")
    (tmp_path / "a.wav").write_bytes(sound(7))
    forms = [
        sound(7),
        "a.wav",
        {"bytes": sound(7), "path": "elsewhere.wav"},
        {"bytes": None, "path": "a.wav"},
        {"array": expected.tolist(), "sampling_rate": rate},
        Decoder(expected[None, :], rate),
        Decoder(expected, rate),
    ]
    for form in forms:
        samples, found = decode_audio(form, tmp_path, "clip")
        assert found == 24_000
        np.testing.assert_array_equal(np.squeeze(samples), expected)


@pytest.mark.parametrize(
    "form, message",
    [
        (None, "NoneType is no audio"),
        ({"bytes": None, "path": None}, "is no audio"),
        (b"no sound at all", "clip cannot be read"),
        (sound(1)[:-4000], "clip is cut off"),
        ("missing.wav", "missing.wav does not exist"),
        ({"array": [0.1, 0.2], "sampling_rate": None}, "needs its sampling_rate"),
    ],
)
def test_audio_that_is_none_is_named(tmp_path, form, message):
    with pytest.raises(BadAudioError, match=message):
        decode_audio(form, tmp_path, "clip")


def test_a_parquet_without_audio_stops_before_anything_is_made(tmp_path):
    (tmp_path / "advbench").mkdir()
    path = tmp_path / "advbench" / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"prompt": ["Tell me"]}), path)
    with pytest.raises(ArtifactError, match=r"test-\*\.parquet, row 1: no audio"):
        build(tmp_path, tmp_path / "out", "advbench", n=1)


def test_another_number_of_rows_is_refused(folder, tmp_path):
    with pytest.raises(ArtifactError, match=r"20 rows, benchmark\.subsets\.obqa\.rows says 455"):
        build(folder, tmp_path, "obqa", rows=455)


def test_a_letter_that_is_no_option_is_refused(tmp_path):
    rows = [{"audio": {"bytes": sound(1), "path": "1.wav"}, "prompt": choice_prompt(1, "\n"), "reference": "E"}]
    write_split(tmp_path, "openbookqa", "test", rows)
    with pytest.raises(ArtifactError, match=r"row 1: reference 'E' is no letter of the 4 options"):
        build(tmp_path, tmp_path / "out", "obqa", n=1)


def test_a_split_that_is_not_in_the_asset_is_named_with_those_that_are(folder, tmp_path):
    with pytest.raises(ArtifactError, match=r"zaf-\*\.parquet: nothing there; .*usa-00000-of-00001\.parquet"):
        build(folder, tmp_path, "sd_qa_usa", file="sd-qa/zaf-*.parquet")


@pytest.mark.parametrize(
    "file, message",
    [
        ("sd-qa/mars-*.parquet", "'mars-*.parquet' is no split of 'sd-qa'; it has aus, gbr"),
        ("mmsu/test-*.parquet", "is no split of 'mmsu'; it has law"),
        ("tts/usa-*.parquet", "the folder must be one of advbench"),
    ],
)
def test_a_region_or_domain_that_does_not_exist_is_refused_when_the_config_is_read(file, message):
    with pytest.raises(ValueError) as raised:
        SubsetSettings(asset="v", file=file, layout="voicebench", scorer="short_answer", max_new_tokens=8)
    assert message in str(raised.value)


def test_clips_longer_than_the_window_are_dropped_with_their_reason(tmp_path):
    rows = [
        {
            "audio": {"bytes": sound(row, 8_000, 31 if row == 3 else 1), "path": "1.wav"},
            "prompt": f"who {row}",
            "reference": "x",
        }
        for row in range(6)
    ]
    write_split(tmp_path, "sd-qa", "usa", rows)
    build(tmp_path, tmp_path / "out", "sd_qa_usa", n=6)
    dropped = [one for one in speak(tmp_path, tmp_path / "out", "sd_qa_usa") if not one.kept]
    assert len(dropped) == 1 and "31.00 s, longer than speech.max_seconds" in dropped[0].reason


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "advbench").mkdir()
    (tmp_path / "advbench" / "test-00000-of-00001.parquet").write_bytes(json.dumps({}).encode())
    with pytest.raises(ArtifactError, match=r"00000-of-00001\.parquet: no readable parquet file"):
        build(tmp_path, tmp_path / "out", "advbench", n=1)
