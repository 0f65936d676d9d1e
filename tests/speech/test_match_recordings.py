"""A collection of recordings takes the place of a voice: found by id, else by the same words, with its transcripts."""

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.utterances import SYNTHESIS, UTTERANCES
from workflow_scripts.settings.speech import RecordedVoice
from workflow_scripts.speech.audio import BadAudioError, read_flac
from workflow_scripts.speech.match_recordings import match_recordings
from workflow_scripts.speech.recordings import decode_audio
from workflow_scripts.speech.synthesize_speech import synthesize_speech
from workflow_scripts.speech.transcribe_speech import transcribe_speech

SPOKEN = {
    "q1": "What is five plus six?",
    "q2": "Name a river",
    "q3": "Who wrote Hamlet?",
    "q4": "It's a long way home.",
}
ROWS = [
    # The id decides, whatever the text; words are compared without case, punctuation and spelling.
    {"id": "q1", "text": "something else", "transcript": "what's 5 plus 6"},
    {"id": "c2", "text": "name a RIVER!", "transcript": None},
    {"id": "c2b", "text": "Name a river", "transcript": "the second with these words"},
    {"id": "c3", "text": "who wrote hamlet", "transcript": "who rode hamlet"},
    {"id": "c4", "text": "it is a long way home", "transcript": None},
    {"id": "c5", "text": "never asked", "transcript": None},
]


def tone(number: int) -> bytes:
    """A clip of its row's own length."""
    samples = 0.3 * np.sin(0.05 * (number + 1) * np.arange(8000 + 160 * number))
    out = io.BytesIO()
    soundfile.write(out, samples, 16_000, format="WAV", subtype="PCM_16")
    return out.getvalue()


def parquet(folder):
    columns = {name: [row[name] for row in ROWS] for name in ROWS[0]}
    audio = [{"bytes": tone(n), "path": f"{n}.wav"} for n in range(len(ROWS))]
    for part, rows in enumerate((slice(0, 2), slice(2, None))):
        table = pa.table({name: values[rows] for name, values in columns.items()} | {"audio": audio[rows]})
        pq.write_table(table, folder / f"train-0000{part}-of-00002.parquet", row_group_size=1)
    return "train-*.parquet"


def audio_folder(folder):
    (folder / "train").mkdir()
    lines = ["file_name,id,text,transcript"]
    for n, row in enumerate(ROWS):
        (folder / "train" / f"clip {n}.wav").write_bytes(tone(n))
        lines.append(f"clip {n}.wav,{row['id']},{row['text']},{row['transcript'] or ''}")
    (folder / "train" / "metadata.csv").write_text("\n".join(lines))
    return "train/metadata.csv"


def manifest(folder):
    (folder / "clips").mkdir()
    for n in range(len(ROWS)):
        (folder / "clips" / f"{n}.wav").write_bytes(tone(n))
    rows = [{"audio": f"clips/{n}.wav"} | row for n, row in enumerate(ROWS)]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return "mine.jsonl"


def add(archive, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def web_dataset(folder):
    for shard, rows in enumerate((range(3), range(3, len(ROWS)))):
        with tarfile.open(folder / f"clips-{shard}.tar", "w") as archive:
            for n in rows:
                name = f"../up/{ROWS[n]['id']}"  # a key is no path
                add(archive, f"{name}.txt", ROWS[n]["text"].encode())
                add(archive, f"{name}.wav", tone(n))
                add(archive, f"{name}.json", json.dumps({"transcript": ROWS[n]["transcript"]}).encode())
    return "clips-*.tar"


KINDS = {"the hub's parquet": parquet, "audio folder": audio_folder, "manifest": manifest, "WebDataset": web_dataset}


@pytest.fixture
def asset(tmp_path):
    folder = tmp_path / "asset"
    folder.mkdir()
    (folder / "asset.json").write_text("{}")
    return folder


def asked():
    facts = {"subset": "made", "reference": [], "scorer": "short_answer", "source": {"row": 1, "file": "q.jsonl"}}
    return [Question(id=name, prompt=text, spoken=text, **facts) for name, text in SPOKEN.items()]


def speak(tmp_path, asset, file, threads=1, **voice):
    QUESTIONS.write(tmp_path / "questions.jsonl", asked(), {})
    out = tmp_path / "out" / "synthesis.jsonl"
    voice = {"engine": "recorded", "asset": "clips", "file": file} | voice
    options = {"subset": "made", "max_seconds": 30, "retries": 0, "threads": threads}
    synthesize_speech(tmp_path / "questions.jsonl", out, voice=voice, recordings=asset / "asset.json", **options)
    return SYNTHESIS.read(out)


def match(asset, file, **fields):
    voice = RecordedVoice(engine="recorded", asset="clips", file=file, fields=fields)
    return match_recordings(asked(), asset, voice)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_collection_gives_each_question_its_recording_and_transcript(tmp_path, asset, kind):
    found = speak(tmp_path, asset, KINDS[kind](asset))
    assert [(one.id, one.kept) for one in found] == [(name, True) for name in SPOKEN]
    for one, row in zip(found, (0, 1, 3, 4)):
        expected, _ = soundfile.read(io.BytesIO(tone(row)), dtype="float32")
        np.testing.assert_allclose(read_flac(tmp_path / "out" / one.audio), expected, atol=1e-4)
    given = ["what's 5 plus 6", None, "who rode hamlet", None]
    assert [(one.transcript, one.transcript_given) for one in found] == [(text, text is not None) for text in given]


def test_processes_read_the_same_collection(tmp_path, asset, monkeypatch):
    monkeypatch.setattr("workflow_scripts.speech.synthesize_speech.TASKS_PER_CALL", 1)
    file = parquet(asset)
    assert speak(tmp_path, asset, file, threads=2) == speak(tmp_path / "alone", asset, file)


def test_given_transcripts_take_the_place_of_the_recognisers_and_are_recorded_as_given(tmp_path, asset, tiny_whisper):
    speak(tmp_path, asset, manifest(asset))
    folder = tmp_path / "out"
    arguments = tmp_path / "questions.jsonl", folder / "synthesis.jsonl", tiny_whisper / "asset.json"
    settings = {"settings": {"asset": "tiny", "batch_size": 2}, "device": "cpu"}
    transcribe_speech(*arguments, folder / "manifest.jsonl", wer_limit=None, **settings)
    found, header = UTTERANCES.read_with_header(folder / "manifest.jsonl")
    assert [one.transcript_given for one in found] == [True, False, True, False]
    assert found[0].transcript == "what's 5 plus 6" and found[0].wer == 0.0, "is and 's are one word"
    assert found[2].wer == pytest.approx(1 / 3)
    assert found[1].transcript not in (None, "the second with these words") and found[1].wer > 0
    assert header["provenance"]["transcripts_given"] == 2
    transcribe_speech(*arguments, folder / "manifest.jsonl", wer_limit=0.1, **settings)
    assert [one.kept for one in UTTERANCES.read(folder / "manifest.jsonl")] == [True, False, False, False]


def test_no_recogniser_is_loaded_if_all_transcripts_are_given(tmp_path, asset, monkeypatch):
    monkeypatch.setattr("tests.speech.test_match_recordings.ROWS", [row | {"transcript": "said"} for row in ROWS])
    speak(tmp_path, asset, manifest(asset))
    folder = tmp_path / "out"
    transcribe_speech(
        *(tmp_path / "questions.jsonl", folder / "synthesis.jsonl", tmp_path / "no" / "asset.json"),
        *(folder / "manifest.jsonl",),
        **{"settings": {"asset": "tiny"}, "wer_limit": None},
    )
    assert {one.transcript for one in UTTERANCES.read(folder / "manifest.jsonl")} == {"said"}


def test_a_recording_in_noise_is_heard_by_the_recogniser(tmp_path, asset):
    base = {"engine": "recorded", "asset": "clips", "file": manifest(asset)}
    QUESTIONS.write(tmp_path / "questions.jsonl", asked(), {})
    out = tmp_path / "out" / "synthesis.jsonl"
    synthesize_speech(
        *(tmp_path / "questions.jsonl", out),
        voice={"engine": "altered", "base": base, "noise": "white", "snr_db": 0},
        **{"subset": "made", "max_seconds": 30, "retries": 0, "recordings": asset / "asset.json"},
    )
    found = SYNTHESIS.read(out)
    assert all(one.kept for one in found) and not any(one.transcript_given or one.transcript for one in found)


def test_columns_of_other_names_are_read_by_the_names_given(asset):
    rows = [{"utt": "x", "sentence": text, "path": "a.wav", "hyp": text.upper()} for text in SPOKEN.values()]
    (asset / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (asset / "a.wav").write_bytes(tone(1))
    with pytest.raises(ArtifactError, match=r"no recording of any of 4 questions.*there are utt, sentence, path, hyp"):
        match(asset, "mine.jsonl", audio="path")
    found = match(asset, "mine.jsonl", audio="path", text="sentence", transcript="hyp")
    assert [one.source["transcript"] for one in found] == [text.upper() for text in SPOKEN.values()]


def test_a_transcript_that_is_nan_is_none(asset):
    row = {"id": "q1", "audio": "a.wav", "transcript": float("nan")}
    (asset / "mine.jsonl").write_text(json.dumps(row))
    (asset / "a.wav").write_bytes(tone(1))
    assert {one.source["transcript"] for one in match(asset, "mine.jsonl")} == {None}


def test_a_question_without_recording_is_dropped_with_its_reason(tmp_path, asset, monkeypatch):
    monkeypatch.setattr("workflow_scripts.speech.synthesize_speech.MAX_DROPPED_SHARE", 0.3)
    monkeypatch.setattr("tests.speech.test_match_recordings.ROWS", ROWS[:4])
    found = speak(tmp_path, asset, parquet(asset))
    assert [one.kept for one in found] == [True, True, True, False]
    assert found[3].reason == "train-*.parquet has no recording with its id or its words"


def test_a_manifest_that_names_files_that_are_gone_stops_before_anything_is_spoken(tmp_path, asset):
    file = manifest(asset)
    for n in (0, 4):
        (asset / "clips" / f"{n}.wav").unlink()
    message = r"mine\.jsonl: 2 of 4 audio files that it names are not in .*row 1: clips/0\.wav; row 5: clips/4\.wav"
    with pytest.raises(ArtifactError, match=message):
        speak(tmp_path, asset, file)
    assert not any((tmp_path / "out" / "audio").iterdir())
    (asset / "clips" / "0.wav").write_bytes(tone(0))
    (asset / "clips" / "4.wav").write_bytes(tone(4))
    assert all(one.kept for one in speak(tmp_path, asset, file)), "the next run goes on"


def test_two_recordings_with_one_id_are_named(asset):
    row = {"id": "q1", "audio": "a.wav"}
    (asset / "mine.jsonl").write_text("\n".join([json.dumps(row)] * 2))
    with pytest.raises(ArtifactError, match="rows 1 and 2 have the same id 'q1'"):
        match(asset, "mine.jsonl")


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        ("../../secret.wav", "row 1: .*leaves the manifest's folder"),
        ("/etc/passwd", "row 1: .*leaves the manifest's folder"),
        ({"file": "../secret", "offset": 0, "size": 9}, "row 1: audio is dict, expected the path"),
        (7, "row 1: audio is int, expected the path"),
    ],
)
def test_what_a_manifest_names_stays_inside_its_folder(asset, audio, message):
    (asset / "mine.jsonl").write_text(json.dumps({"id": "q1", "audio": audio}))
    with pytest.raises(ArtifactError, match=message):
        match(asset, "mine.jsonl")


def test_a_path_inside_a_data_sets_cell_stays_inside_its_folder(asset):
    (asset.parent / "up.wav").write_bytes(tone(1))
    with pytest.raises(BadAudioError, match="leaves the folder of its data set"):
        decode_audio({"bytes": None, "path": "../up.wav"}, asset, "clip")


def link(archive):
    member = tarfile.TarInfo("q1.wav")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    archive.addfile(member)


BAD_SHARDS = {
    "a link": (link, r"member 'q1\.wav' is no plain file"),
    "two clips": (lambda a: [add(a, f"q1.{end}", b"x") for end in ("wav", "flac")], "'q1' has two recordings"),
    "no JSON": (lambda a: add(a, "q1.json", b"{"), r"member 'q1\.json' is not JSON"),
    "a list": (lambda a: add(a, "q1.json", b"[1]"), r"member 'q1\.json' is list instead of an object"),
    "no UTF-8": (lambda a: add(a, "q1.txt", b"\xff"), r"member 'q1\.txt' is not UTF-8"),
    "two texts": (
        lambda a: (add(a, "q1.en.txt", b"a"), add(a, "q1.de.txt", b"b")),
        r"sample 'q1' has two \.txt members",
    ),
    "a number of 5,000 digits": (
        lambda a: add(a, "q1.json", b'{"n": ' + b"1" * 5000 + b"}"),
        r"'q1\.json' is not JSON",
    ),
    "a long text": (lambda a: add(a, "q1.txt", b"x" * 1_000_001), r"member 'q1\.txt' has 1000001 bytes"),
}


@pytest.mark.parametrize("problem", BAD_SHARDS)
def test_a_bad_member_of_a_shard_is_named(asset, problem):
    write, message = BAD_SHARDS[problem]
    with tarfile.open(asset / "a.tar", "w") as archive:
        write(archive)
    with pytest.raises(ArtifactError, match=rf"a\.tar: .*{message}"):
        match(asset, "a.tar")


@pytest.mark.parametrize(
    "damage", ["cut between members", "a header's byte", "zeros in the middle", "two shards in one"]
)
def test_no_recording_of_a_damaged_shard_is_lost_in_silence(asset, damage):
    with tarfile.open(asset / "a.tar", "w") as archive:
        for n in range(4):
            add(archive, f"q{n + 1}.wav", tone(n))
    whole = (asset / "a.tar").read_bytes()
    with tarfile.open(asset / "a.tar") as archive:
        third = archive.getmembers()[2].offset
    assert all(one.source["audio"] for one in match(asset, "a.tar"))
    (asset / "a.tar").write_bytes(
        {
            "cut between members": whole[:third],
            "a header's byte": whole[: third + 1] + b"\xff" + whole[third + 2 :],
            "zeros in the middle": whole[:third] + bytes(512) + whole[third + 512 :],
            "two shards in one": whole + whole,
        }[damage]
    )
    with pytest.raises(ArtifactError, match=r"a\.tar: cut off or damaged at byte"):
        match(asset, "a.tar")


@pytest.mark.parametrize("size", [-1, -512, -1024])
def test_a_member_of_negative_size_is_refused_and_does_not_go_round_in_circles(asset, size):
    header = bytearray(tarfile.TarInfo("q2.wav").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = tarfile.itn(size, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    first = tarfile.TarInfo("q1.wav").tobuf(tarfile.GNU_FORMAT)
    (asset / "a.tar").write_bytes(first + bytes(header) + bytes(1024))
    with pytest.raises(ArtifactError, match=rf"a\.tar: member 'q2\.wav' has {size} bytes"):
        match(asset, "a.tar")


def test_a_field_without_value_and_files_of_macos_do_not_hide_a_key(asset):
    with tarfile.open(asset / "a.tar", "w") as archive:
        add(archive, "q1.wav", tone(0))
        add(archive, "._q1.wav", b"x")
        add(archive, "q1.json", b'{"id": null, "text": null}')
    assert match(asset, "a.tar")[0].source["audio"]["file"] == "a.tar"


def test_half_a_character_in_a_transcript_is_named_with_its_row(asset):
    (asset / "a.wav").write_bytes(tone(0))
    (asset / "m.jsonl").write_text('{"id": "q1", "audio": "a.wav", "transcript": "\\ud800 hi"}')
    with pytest.raises(ArtifactError, match=r"m\.jsonl, row 1: transcript .* half a character"):
        match(asset, "m.jsonl")


def test_a_shard_that_is_cut_off_compressed_or_gone_is_named(asset):
    with tarfile.open(asset / "a.tar", "w") as archive:
        add(archive, "q1.wav", tone(0))
    whole = (asset / "a.tar").read_bytes()
    assert match(asset, "a.tar")[0].source["audio"] == {"file": "a.tar", "offset": 512, "size": len(tone(0))}
    for content in (whole[:3000], b"", b"no tar at all" * 100):
        (asset / "a.tar").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"a\.tar: no readable tar file"):
            match(asset, "a.tar")
    with tarfile.open(asset / "a.tar", "w:gz") as archive:
        add(archive, "q1.wav", tone(0))
    with pytest.raises(ArtifactError, match="without compression"):
        match(asset, "a.tar")
    with pytest.raises(ArtifactError, match=r"b-\*\.tar: nothing there; .* has a\.tar, asset\.json"):
        match(asset, "b-*.tar")
