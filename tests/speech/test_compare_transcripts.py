"""Clips that say something else than their text are listed, worst first, and nothing is dropped for it."""

import pytest

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_columns
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.speech.compare_transcripts import DISAGREEMENTS, RECORDINGS, compare_transcripts


def write(folder, subset, rates):
    asked = [
        Question(
            **{"id": f"{subset}-{n}", "subset": subset, "prompt": f"question {n}", "spoken": f"question {n}"},
            **{"reference": [], "scorer": "refusal", "source": {}},
        )
        for n in range(len(rates))
    ]
    heard = [
        Utterance(
            **{"id": question.id, "audio": "a.flac", "sha256": None, "seconds": 1.0 + n, "sample_rate": 16_000},
            **{"transcript": f"heard {n}", "wer": rate, "kept": rate is not None, "attempts": 1},
        )
        for n, (question, rate) in enumerate(zip(asked, rates))
    ]
    paths = folder / f"{subset}.questions.jsonl", folder / f"{subset}.manifest.jsonl"
    QUESTIONS.write(paths[0], asked, {})
    UTTERANCES.write(paths[1], heard, {})
    return paths


def test_clips_that_disagree_are_listed_by_subset_and_voice(tmp_path):
    first, second = write(tmp_path, "sd_qa_usa", [0.0, 0.9, 0.4, None]), write(tmp_path, "obqa", [0.1, 0.3])
    tables = tmp_path / "recordings.csv", tmp_path / "disagreements.csv"
    compare_transcripts(
        [first[0], second[0]], [first[1], second[1]], *tables, voices={"sd_qa_usa": "usa", "obqa": "published"}
    )
    clips = read_columns(tables[1], DISAGREEMENTS)
    assert list(zip(clips.id, clips.voice, clips.wer)) == [("sd_qa_usa-1", "usa", 0.9), ("sd_qa_usa-2", "usa", 0.4)]
    assert clips.transcript[0] == "heard 1" and clips.prompt[0] == "question 1"
    summary = read_columns(tables[0], RECORDINGS)
    assert summary[["n", "kept", "dropped", "disagreeing"]].to_numpy().tolist() == [[4, 3, 1, 2], [2, 2, 0, 0]]
    assert summary.wer_mean.tolist() == pytest.approx([1.3 / 3, 0.2], rel=1e-5)


def test_a_manifest_of_other_questions_is_refused(tmp_path):
    first, second = write(tmp_path, "a", [0.0]), write(tmp_path, "b", [0.0])
    with pytest.raises(ArtifactError, match="other questions than"):
        compare_transcripts([first[0]], [second[1]], tmp_path / "r.csv", tmp_path / "d.csv", voices={"a": "v"})
