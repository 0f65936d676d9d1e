"""The speech stage's word_times.jsonl: when each word of a question is spoken."""

from pydantic import Field, model_validator

from workflow_scripts.artifacts.questions import Id
from workflow_scripts.artifacts.records import Record, RecordFile


class TimedWord(Record):
    """One word of the prompt. Punctuation around it is no part of it."""

    text: str = Field(min_length=1)
    span: tuple[int, int] = Field(description="Its characters in the prompt, [start, end).")
    seconds: tuple[float, float] | None = Field(
        description="When it is spoken, (start, end) in the audio; None where the source has no such word."
    )

    @model_validator(mode="after")
    def _runs_forward(self) -> "TimedWord":
        if not 0 <= self.span[0] < self.span[1]:
            raise ValueError(f"word {self.text!r} has characters {self.span}, expected 0 <= start < end")
        if self.seconds is not None and not 0 <= self.seconds[0] <= self.seconds[1]:
            raise ValueError(f"word {self.text!r} is spoken from {self.seconds[0]} to {self.seconds[1]} s")
        return self


class WordTimes(Record):
    """The words of one kept question, in the order of the prompt."""

    id: Id
    words: list[TimedWord]


WORD_TIMES = RecordFile("word_times/1", WordTimes)
