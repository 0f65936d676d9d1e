"""What is read off a run: the margin of the right option's letter, or the log-probability of the reference answer."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from workflow_scripts.artifacts.questions import Question
from workflow_scripts.scoring.question_formats import reference_answer
from workflow_scripts.speech_lm.decoding.option_tokens import LETTERS, log_sum, option_branches
from workflow_scripts.speech_lm.families.base import DecoderSpeechLM

MARGIN, LOG_PROB = "letter_margin", "reference_log_prob"


@dataclass(frozen=True)
class Outcome:
    """A number that is higher for a better answer.

    Attributes:
        name: `letter_margin`, ln p(right letter) - ln p(best wrong one), or `reference_log_prob`, the mean ln p of the
            reference answer's tokens.
        branches: continuations of the prompt whose probabilities are needed.
        letters: by option, the branches that spell its letter; empty for a reference. right: the right option.
    """

    name: str
    branches: list[list[int]]
    letters: list[list[int]]
    right: int = 0

    def read(self, log_probs: Sequence[Tensor]) -> float:
        """The number, from ln p of each branch's tokens."""
        if not self.letters:
            return float(log_probs[0].mean())
        options = [log_sum([float(log_probs[branch].sum()) for branch in spelled]) for spelled in self.letters]
        return options[self.right] - max(value for place, value in enumerate(options) if place != self.right)

    @property
    def answer(self) -> list[int]:
        """Tokens of the right answer: the reference, or the first way to write the right option's letter."""
        return self.branches[self.letters[self.right][0] if self.letters else 0]

    def after_first(self) -> tuple[int, "Outcome"] | None:
        """The first answer token, and what is read behind it; None where nothing follows it."""
        if self.letters or len(self.branches[0]) < 2:
            return None
        first, *rest = self.branches[0]
        return first, Outcome(self.name, [rest], [])


def outcome_of(lm: DecoderSpeechLM, question: Question) -> Outcome | None:
    """The margin for multiple choice, else the reference; None for a question that has neither."""
    if len(question.options) > 1 and question.reference and question.reference[0] in LETTERS:
        every = option_branches(lm.tokenizer, question.options, None, lm.name)
        used = sorted({branch for spelled in every.letters for branch in spelled})
        letters = [[used.index(branch) for branch in spelled] for spelled in every.letters]
        return Outcome(
            MARGIN, [every.branches[branch] for branch in used], letters, LETTERS.index(question.reference[0])
        )
    reference = reference_answer(question)
    return None if reference is None else Outcome(LOG_PROB, [lm.token_ids(reference)], [])
