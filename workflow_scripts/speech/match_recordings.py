"""Which recording of a collection is of which question: by id, else by exactly the same words.

A collection is anything that `dataset_rows` reads: parquet with its audio inside (the hub's layout), a folder of audio
with metadata.csv or metadata.jsonl, WebDataset shards, or a manifest of your own. A matched question carries its
row's audio as if it had come from that row; ids and keys are compared and never become paths.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.dataset_rows import cell_text, dataset_rows, has_half_a_character, matching_files
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring.text_normalisation import normalise_words
from workflow_scripts.settings.speech import RecordedVoice
from workflow_scripts.speech.recordings import stays_inside

logger = logging.getLogger(__name__)
MAX_NAMED = 3


def match_recordings(questions: Sequence[Question], asset: Path, voice: RecordedVoice) -> list[Question]:
    """The questions, those that have a recording with `file`, `audio` and, where given, `transcript` in their source.

    The recording with the question's id is taken, else the first one whose text has the words of the prompt or of what
    a voice would read (`scoring.text_normalisation`: spelling, case and punctuation do not count).

    Args:
        asset: folder of the voice's asset. voice: its settings, with `file`.

    Raises:
        ArtifactError: no such file, no question has a recording, one id twice, or audio files that are gone or outside
            the folder; names file, rows and remedy.
    """
    path = Path(asset) / voice.file
    ids = {question.id for question in questions}
    texts = {normalise_words(text) for question in questions for text in (question.prompt, question.spoken)} - {""}
    by_id: dict[str, tuple[int, Mapping[str, Any]]] = {}
    by_text: dict[str, tuple[int, Mapping[str, Any]]] = {}
    columns: dict[str, None] = {}
    for number, row in dataset_rows(path):
        columns |= dict.fromkeys(row)
        audio = row.get(voice.column("audio")) or row.get("audio") or row.get("file_name")
        if audio is None:
            continue
        if not isinstance(audio, str) and (not isinstance(audio, dict) or audio.get("file") != row["source_file"]):
            raise ArtifactError(
                f"{path}, row {number}: audio is {type(audio).__name__}, expected the path of a file; in parquet the "
                "column is called 'audio'"
            )
        kept = {"audio": audio, "transcript": _text(row, voice.column("transcript"))}
        if has_half_a_character(kept["transcript"]):
            raise ArtifactError(f"{path}, row {number}: transcript {kept['transcript']!r} holds half a character")
        name = _text(row, voice.column("id"))
        if name in ids:
            if name in by_id:
                raise ArtifactError(f"{path}: rows {by_id[name][0]} and {number} have the same id {name!r}; remove one")
            by_id[name] = number, kept
        elif (key := normalise_words(_text(row, voice.column("text")) or "")) in texts:
            by_text.setdefault(key, (number, kept))
    found = {question.id: _of(question, by_id, by_text) for question in questions}
    matched = {name: one for name, one in found.items() if one is not None}
    if not matched:
        raise ArtifactError(
            f"{path}: no recording of any of {len(questions)} questions, such as {questions[0].id!r}, "
            f"{questions[0].prompt[:60]!r}. They are found by column {voice.column('id')!r}, else by the words of "
            f"column {voice.column('text')!r}; there are {', '.join(columns)}. Name yours in `fields` of the voice"
        )
    _check_files(path, matched.values())
    transcripts = sum(one["transcript"] is not None for _, one in matched.values())
    logger.info(
        "%s: recordings of %d of %d questions, %d by id, %d by their words; %d with a transcript",
        *(path, len(matched), len(questions), sum(name in by_id for name in matched)),
        *(sum(name not in by_id for name in matched), transcripts),
    )
    return [_with(question, voice.file, found[question.id]) for question in questions]


def _of(question: Question, by_id: Mapping[str, Any], by_text: Mapping[str, Any]) -> Any:
    keys = normalise_words(question.prompt), normalise_words(question.spoken)
    return by_id.get(question.id) or next((by_text[key] for key in keys if key in by_text), None)


def _with(question: Question, file: str, found: tuple[int, Mapping[str, Any]] | None) -> Question:
    recording = {"audio": None, "transcript": None} if found is None else found[1]
    return question.model_copy(update={"source": question.source | {"file": file} | recording})


def _text(row: Mapping[str, Any], column: str) -> str | None:
    return cell_text(row.get(column)) or None


def _check_files(path: Path, found: Any) -> None:
    """Audio files that a manifest names must be there, and inside its folder."""
    named = [(number, one["audio"]) for number, one in found if isinstance(one["audio"], str)]
    outside = [(number, name) for number, name in named if not stays_inside(name)]
    if outside:
        number, name = outside[0]
        raise ArtifactError(
            f"{path}, row {number}: {name!r} leaves the manifest's folder ({len(outside)} such rows); give paths below "
            "it, relative and without '..'"
        )
    folder = matching_files(path)[0].parent
    if gone := [(number, name) for number, name in named if not (folder / name).is_file()]:
        first = "; ".join(f"row {number}: {name}" for number, name in gone[:MAX_NAMED])
        raise ArtifactError(
            f"{path}: {len(gone)} of {len(named)} audio files that it names are not in {folder} ({first}); add them, "
            "or remove their rows, and fetch the asset again"
        )
