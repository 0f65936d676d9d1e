"""Did the model say the sentence it was asked to repeat? (ours)

The word error rate of the answer against the sentence, both normalised as for speech recognition. The score
max(0, 1 - WER) is 1 for a perfect repetition and 0 from one error per word on; insertions count, so an answer that
wraps the sentence in chatter loses.
"""

from dataclasses import dataclass

from workflow_scripts.scoring.scorer import Score, Scorer, Task, detail_estimates
from workflow_scripts.scoring.word_errors import recognised_words, word_error_rate


@dataclass(frozen=True)
class Repetition:
    """How faithfully a sentence was repeated.

    Attributes:
        score: max(0, 1 - word_error_rate), 0 to 1.
        word_error_rate: word errors per word of the sentence; above 1 with many insertions.
        heard: the answer after normalisation.
    """

    score: float
    word_error_rate: float
    heard: str


def compare_repetition(answer: str, sentence: str) -> Repetition:
    """Score ``answer`` as a repetition of ``sentence``.

    Raises:
        ValueError: the sentence has no words after normalisation.
    """
    rate = word_error_rate(sentence, answer)
    return Repetition(score=max(0.0, 1.0 - rate), word_error_rate=rate, heard=recognised_words(answer))


def score_repetition(answer: str, task: Task) -> Score:
    """max(0, 1 - WER) against the one sentence of the reference."""
    if len(task.reference) != 1:
        raise ValueError(f"a repeat reference is one sentence, got {len(task.reference)}: {list(task.reference)!r}")
    said = compare_repetition(answer, task.reference[0])
    empty = not said.heard
    outcome = "empty" if empty else "exact" if said.word_error_rate == 0 else "partial" if said.score else "missed"
    details = {"word_error_rate": said.word_error_rate}
    return Score(said.score, said.heard or None, outcome, "word_error_rate", empty, details)


SCORER = Scorer(
    version="2",
    score=score_repetition,
    layouts=("sentences",),
    estimates=detail_estimates("word_error_rate"),
    measures={"word_error_rate": lambda _, details: 100 * details["word_error_rate"]},
)
