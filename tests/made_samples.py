"""Made-up questions, audio, answers, scores, token matrices and manifest of the study of `made_results`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from tests.made_results import BACKBONE, FORMS, SENTENCE, STEPS, Made
from workflow_scripts.artifacts.answers import ANSWERS, AnswerRecord
from workflow_scripts.artifacts.measurements import ALIGNMENT, Measured, Measurements, write_measurements
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.figures.table import FIGURES

WORDS = SENTENCE.split()


def write_made_alignment(path: Path, model: str, n_tokens: int = 14, n_frames: int = 60, n_layers: int = 6) -> Path:
    """An alignment file with one example whose path runs along the diagonal."""
    rng = np.random.default_rng(0)
    frames = np.linspace(2, n_frames - 3, n_tokens).astype(int)
    cosine = rng.uniform(0, 0.3, (n_layers + 1, n_frames, n_tokens))
    cosine[:, frames, np.arange(n_tokens)] = 0.9
    paths = np.tile(frames, (n_layers + 1, 1))
    measured = Measured(*(np.zeros((1, n_layers + 1)) for _ in range(4)))
    content = Measurements(
        ids=["nq-0001"],
        measures={"consistency": measured},
        T_s=np.array([n_frames]),
        T_t=np.array([n_tokens]),
        attributes={"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "subset": "nq"},
        paths={"cosine": [paths], "euclidean": [paths]},
        scores={"cosine": [paths * 0.1], "euclidean": [paths * 0.1]},
        examples={"nq-0001": {"cosine": cosine, "euclidean": 30 * (1 - cosine)}},
        example_tokens={"nq-0001": [f"Ġ{word}" for word in WORDS[:n_tokens]]},
        words={
            **{name: [frames + shift] for name, shift in (("frame", 0), ("first", -1), ("last", 1))},
            "centre": [frames * 0.1],
        },
    )
    write_measurements(path, ALIGNMENT, content)
    return path


@dataclass
class MadeSamples:
    """Inputs of the sample browser, in the order of the study's subsets."""

    questions: list[Path]
    utterances: list[Path]
    answers: list[Path]
    scores: list[Path]


def write_made_samples(made: Made, n: int = 12, texts: Mapping[str, str] | None = None) -> MadeSamples:
    """Write questions, audio, utterances, answers and scores of each subset and model.

    Every third spoken answer is right; the second question of a subset was dropped.

    Args:
        n: questions per subset.
        texts: replaces `prompt`, `reference`, `answer` or `transcript` everywhere.
    """
    texts = {} if texts is None else texts
    samples = MadeSamples([], [], [], [])
    for subset in made.subsets:
        ids = [f"{subset}-{number:04d}" for number in range(n)]
        asked = made.folder / "benchmark" / subset / "questions.jsonl"
        QUESTIONS.write(asked, [_question(subset, name, texts) for name in ids], {})
        heard = made.folder / "speech" / subset / "manifest.jsonl"
        UTTERANCES.write(heard, [_utterance(heard.parent, name, texts, k != 1) for k, name in enumerate(ids)], {})
        samples.questions.append(asked)
        samples.utterances.append(heard)
        kept = [name for k, name in enumerate(ids) if k != 1]
        for model in made.models:
            for form in FORMS:
                folder = made.folder / "evaluation" / model / f"step-{STEPS[-1]:06d}" / subset
                _write_form(folder, model, subset, form, kept, texts, samples)
    return samples


def _question(subset: str, name: str, texts: Mapping[str, str]) -> Question:
    return Question(
        id=name,
        subset=subset,
        prompt=texts.get("prompt", f"{SENTENCE} ({name})?"),
        spoken=SENTENCE,
        reference=[texts.get("reference", f"right answer of {name}"), "another accepted answer"],
        scorer="repeat" if subset == "repeat" else "short_answer",
        source={"row": 1},
    )


def _utterance(folder: Path, name: str, texts: Mapping[str, str], kept: bool) -> Utterance:
    audio = folder / "audio" / f"{name}.flac"
    audio.parent.mkdir(parents=True, exist_ok=True)
    rate, seconds = 24_000, 1.5
    soundfile.write(audio, 0.2 * np.sin(np.arange(int(rate * seconds)) * 0.06), rate)
    transcript = texts.get("transcript", f"what was heard of {name}")
    return Utterance(
        id=name,
        audio=f"audio/{name}.flac",
        sha256=None,
        seconds=seconds,
        sample_rate=rate,
        transcript=transcript,
        wer=0.125,
        kept=kept,
        reason="" if kept else "too long",
        attempts=1,
    )


def _write_form(
    folder: Path, model: str, subset: str, form: str, ids: Sequence[str], texts: Mapping[str, str], out: MadeSamples
) -> None:
    def text(name: str) -> str:
        return texts.get("answer", f"{model} says of {name} by {form}: forty-two.")

    half = len(ids) // 2
    for number, part in enumerate((ids[:half], ids[half:])):
        path = folder / f"{form}.{number:02d}-of-02.answers.jsonl"
        records = [
            AnswerRecord(
                id=name,
                form=form,
                prompt_hash="0" * 16,
                answer=text(name),
                token_ids=[1],
                finish_reason="stop",
                seconds=0.1,
            )
            for name in part
        ]
        ANSWERS.write(path, records, {"model": model, "form": form})
        out.answers.append(path)
    right = [form != "speech" or number % 3 == 0 for number, _ in enumerate(ids)]
    path = folder / f"{form}.scores.json"
    ScoreFile(
        model=model,
        checkpoint=folder.parent.name,
        subset=subset,
        form=form,
        scorer="short_answer",
        scorer_version="1",
        n=len(ids),
        mean=100 * float(np.mean(right)),
        interval_low=0.0,
        interval_high=100.0,
        interval_method="clopper-pearson",
        unparsed_rate=0.0,
        nll_per_token=None,
        questions=[
            QuestionScore(
                id=name,
                score=float(is_right),
                parsed="forty-two",
                outcome="contained" if is_right else "not_contained",
                rule="contains",
                unparsed=False,
            )
            for name, is_right in zip(ids, right)
        ],
        provenance={},
    ).write(path)
    out.scores.append(path)


def write_made_manifest(path: Path) -> Path:
    """A manifest.json with the keys that the page shows, and every table that a figure is drawn from."""
    sources = {source for figure in FIGURES.values() for source in figure.inputs.values() if "/" in source}
    content = {
        "schema": "manifest/1",
        "settings": {"speech": {"voice": "heart", "voices": {"heart": {"engine": "hibari"}}}},
        "code_version": "0123456789abcdef",
        "settings_hash": "feedc0ffee123456",
        "libraries": {"python": "3.11.9", "torch": "2.13.0"},
        "hardware": {"processor": "Some CPU", "cores": 2, "memory_gb": 24.0, "system": "Linux"},
        "wall_seconds": {"training": 1234.5, "evaluation": 600.0, "report": 3.0},
        "assets": {BACKBONE: {"name": BACKBONE, "licence": "Apache-2.0", "source": {"packages": ["smol==1.0"]}}},
        "utterances": {"nq": {"spoken": 12, "kept": 11, "hours": 0.01, "mean_wer": 0.125, "reasons_dropped": []}},
        "checkpoints": {},
        "samples": {},
        "packages": {"torch": "2.13.0", "numpy": "2.3.0"},
        "sha256": dict.fromkeys(sources, "ab" * 32),
    }
    path.write_text(json.dumps(content), encoding="utf-8")
    return path
