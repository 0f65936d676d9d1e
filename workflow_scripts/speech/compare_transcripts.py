"""recordings.csv and disagreements.csv: where the audio and the text of a question disagree, by the recogniser's ear.

A published or recorded clip may say something else than its prompt: a misread word, a cut, another question. Answers
to such a pair compare two questions. The word error rate of the recogniser's transcript against the prompt tells it:
mostly it measures the recogniser, but a rate above `DISAGREES` seldom comes from it alone. Nothing is dropped here.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import TEXT, WHOLE, write_columns
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance

logger = logging.getLogger(__name__)

DISAGREES = 0.3
"""Word error rate above which a clip is listed."""
RECORDINGS = {
    **dict.fromkeys(("subset", "voice"), TEXT),
    **dict.fromkeys(("n", "kept", "dropped", "disagreeing"), WHOLE),
    **dict.fromkeys(("seconds_mean", "seconds_max", "wer_mean", "wer_median"), "float64"),
}
"""Columns of recordings.csv: one row a subset; rates are of the clips that were kept."""
DISAGREEMENTS = {
    **dict.fromkeys(("subset", "voice", "id"), TEXT),
    **dict.fromkeys(("seconds", "wer"), "float64"),
    **dict.fromkeys(("prompt", "transcript"), TEXT),
}
"""Columns of disagreements.csv: one row a clip above `DISAGREES`, worst first within a subset."""


def compare_transcripts(
    questions: Sequence[Path],
    manifests: Sequence[Path],
    recordings: Path,
    disagreements: Path,
    *,
    voices: Mapping[str, str],
) -> None:
    """Write both tables.

    Args:
        questions, manifests: questions.jsonl and manifest.jsonl of each subset, in the order of `voices`.
        voices: voice by subset.

    Raises:
        ArtifactError: a manifest has other questions than its subset.
    """
    summary: list[dict[str, Any]] = []
    clips: list[dict[str, Any]] = []
    for (subset, voice), asked_path, manifest in zip(voices.items(), questions, manifests, strict=True):
        asked = {question.id: question for question in QUESTIONS.read(Path(asked_path))}
        utterances = UTTERANCES.read(Path(manifest))
        if odd := sorted({one.id for one in utterances} ^ set(asked))[:5]:
            raise ArtifactError(
                f"{manifest}: other questions than {asked_path}, such as {odd}; delete it and run again"
            )
        worst = sorted((one for one in utterances if (one.wer or 0) > DISAGREES), key=lambda one: (-one.wer, one.id))
        summary.append({"subset": subset, "voice": voice, "disagreeing": len(worst)} | _facts(utterances))
        clips += [
            {"subset": subset, "voice": voice, "id": one.id, "seconds": one.seconds, "wer": one.wer}
            | {"prompt": asked[one.id].prompt, "transcript": one.transcript or ""}
            for one in worst
        ]
        if worst:
            logger.info("%s: %d of %d clips disagree with their text", subset, len(worst), len(utterances))
    write_columns(Path(recordings), pd.DataFrame(summary, columns=list(RECORDINGS)), RECORDINGS)
    write_columns(Path(disagreements), pd.DataFrame(clips, columns=list(DISAGREEMENTS)), DISAGREEMENTS)


def _facts(utterances: Sequence[Utterance]) -> dict[str, Any]:
    kept = [one for one in utterances if one.kept]
    seconds, rates = pd.Series([one.seconds for one in kept]), pd.Series([one.wer for one in kept], dtype="float64")
    return {
        **{"n": len(utterances), "kept": len(kept), "dropped": len(utterances) - len(kept)},
        **{"seconds_mean": seconds.mean(), "seconds_max": seconds.max()},
        **{"wer_mean": rates.mean(), "wer_median": rates.median()},
    }


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: compare_transcripts(
            s.input.questions,
            s.input.manifests,
            s.output.recordings,
            s.output.disagreements,
            voices=s.params.voices,
        ),
    )
