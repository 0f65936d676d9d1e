"""Verifiable instructions (IFEval): does the answer meet what the prompt demands? (paper §4)

The checkers are Google's, as shipped in the `if_verifiable` package. Ours is what the package leaves open: an empty
answer fails all its instructions instead of having none, unknown instruction ids and missing arguments are errors
(the checkers would skip the one and draw the other at random), language detection is seeded, and the tokenizer data is
looked up in a given folder and never downloaded.

Strict checks the answer as it is; loose passes if any of eight variants passes (without first line, last line or both,
each also without asterisks). Per prompt: all instructions met. Per instruction: pooled over prompts.
"""

import logging
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.scoring.estimates import Estimate, rate_estimate
from workflow_scripts.scoring.intervals import Interval, exact_interval, mean_interval
from workflow_scripts.scoring.scorer import Estimates, Score, Scorer, Scores, Task
from workflow_scripts.scoring.text_normalisation import plain_characters

_LANGUAGE_SEED = 0
_CHECKER_SEED = 0
_LONGEST_ANSWER = 20_000  # characters
_LONGEST_RUN = 200  # characters
_SYMBOL_RUN = re.compile(rf"([^\w\s])\1{{{_LONGEST_RUN},}}")


@dataclass(frozen=True)
class Instruction:
    """One verifiable instruction: the checker's id ("length_constraints:number_words") and its arguments."""

    id: str
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class InstructionOutcome:
    """Which instructions of one prompt an answer meets.

    Attributes:
        strict: per instruction, in the prompt's order.
        loose: the same under the loose rule; never stricter than ``strict``.
        empty: the answer has no text outside thinking blocks.
    """

    strict: tuple[bool, ...]
    loose: tuple[bool, ...]
    empty: bool

    @property
    def prompt_strict(self) -> bool:
        """All instructions met, strictly."""
        return all(self.strict)

    @property
    def prompt_loose(self) -> bool:
        """All instructions met, loosely."""
        return all(self.loose)

    @property
    def score(self) -> float:
        """Mean of strict and loose x prompt and instruction for this one prompt, 0 to 1."""
        shares = [sum(self.strict) / len(self.strict), sum(self.loose) / len(self.loose)]
        return (float(self.prompt_strict) + float(self.prompt_loose) + sum(shares)) / 4


def check_instructions(instructions: Sequence[Mapping[str, Any]]) -> list[Instruction]:
    """Read instructions given as ``{"id": ..., "kwargs": {...}}``; call it when questions are loaded.

    Arguments that are None (the hub's padding) are dropped.

    Raises:
        ValueError: no instruction, an unknown id, or an argument missing or unknown for its checker.
    """
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT  # slow: it imports `datasets`

    if not instructions:
        raise ValueError("an instruction-following question needs at least one instruction, got none")
    checked = []
    for given in instructions:
        name = given.get("id")
        if name not in INSTRUCTION_DICT:
            raise ValueError(f"unknown instruction id {name!r}; known are {', '.join(sorted(INSTRUCTION_DICT))}")
        kwargs = {key: value for key, value in (given.get("kwargs") or {}).items() if value is not None}
        known = set(INSTRUCTION_DICT[name](name).get_instruction_args_keys())
        if set(kwargs) != known:
            raise ValueError(
                f"instruction {name!r} takes exactly the arguments {sorted(known)}, got {sorted(kwargs)}; a missing "
                "one would be drawn at random on every run, so complete the question"
            )
        checked.append(Instruction(name, kwargs))
    return checked


def prepare_checkers(nltk_data: Path | None) -> None:
    """Seed language detection and put the folder with ``tokenizers/punkt_tab`` first in nltk's search path."""
    import langdetect
    import nltk

    langdetect.DetectorFactory.seed = _LANGUAGE_SEED
    if nltk_data is not None and str(nltk_data) not in nltk.data.path:
        nltk.data.path.insert(0, str(nltk_data))


def _bounded(answer: str) -> str:
    """The answer cut to 20,000 characters, runs of one symbol cut to 200.

    Some checkers' patterns take time quadratic in the length; a model that loops on "[" would stall the scoring for
    minutes. The longest answer asked for in IFEval is far shorter.
    """
    return _SYMBOL_RUN.sub(lambda match: match.group()[:_LONGEST_RUN], answer)[:_LONGEST_ANSWER]


@contextmanager
def _without_answers_in_log() -> Iterator[None]:
    """Keep the checkers from logging whole answers as errors when a language cannot be detected."""

    def keep(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Unable to detect language")

    root = logging.getLogger()
    root.addFilter(keep)
    try:
        yield
    finally:
        root.removeFilter(keep)


@contextmanager
def _seeded_random() -> Iterator[None]:
    """Fix the global generator for a checker and restore it.

    The letter-frequency checker replaces a "letter" outside a-z by a random one; IFEval's prompt 1129 asks for "!".
    Official scores of that instruction are noise; ours are at least the same in every run.
    """
    state = random.getstate()
    random.seed(_CHECKER_SEED)
    try:
        yield
    finally:
        random.setstate(state)


def check_answer(
    answer: str, prompt: str, instructions: Sequence[Mapping[str, Any]], nltk_data: Path | None = None
) -> InstructionOutcome:
    """Check one answer against the instructions of its prompt.

    Args:
        answer: the model's answer; a thinking block is removed first, and at most 20,000 characters are read.
        prompt: the prompt as shown, which some checkers quote.
        instructions: ``{"id": ..., "kwargs": {...}}`` per instruction.
        nltk_data: folder that contains ``tokenizers/punkt_tab``; None uses nltk's own search path.

    Raises:
        ValueError: see `check_instructions`.
        FileNotFoundError: a checker needs the tokenizer data and it is not there.
    """
    from if_verifiable import IFEvalSample, evaluate_output_for_sample

    checked = check_instructions(instructions)
    failed = (False,) * len(checked)
    readable = _bounded(answer)
    if not plain_characters(readable).strip():
        return InstructionOutcome(failed, failed, empty=True)
    prepare_checkers(nltk_data)
    strict, loose = [], []
    for instruction in checked:
        # One instruction at a time, so that a checker that gives up fails its own instruction only.
        sample = IFEvalSample(key=0, prompt=prompt, instruction_id_list=[instruction.id], kwargs=[instruction.kwargs])
        try:
            with _without_answers_in_log(), _seeded_random():
                results, _ = evaluate_output_for_sample("ifeval", sample, readable)
        except RecursionError:  # JSON nested beyond what the parser can follow is not usable JSON
            strict.append(False)
            loose.append(False)
            continue
        except LookupError as error:  # nltk's way to say that punkt_tab is missing
            if type(error) is not LookupError:
                raise
            raise FileNotFoundError(
                f"the checker of {instruction.id!r} needs nltk's punkt_tab, not found below "
                f"{nltk_data or 'the default nltk folders'}; pass the folder that contains tokenizers/punkt_tab"
            ) from error
        if not results:  # the package returns nothing if only a thinking block is left
            return InstructionOutcome(failed, failed, empty=True)
        strict.append(results[0].strict_pass)
        loose.append(results[0].loose_pass)
    return InstructionOutcome(tuple(strict), tuple(loose), empty=False)


@dataclass(frozen=True)
class FollowingRates:
    """The four IFEval ratios over a set of prompts, 0 to 1, and their mean."""

    prompt_strict: float
    prompt_loose: float
    instruction_strict: float
    instruction_loose: float

    @property
    def final(self) -> float:
        """Mean of the four ratios, the score of the subset."""
        return (self.prompt_strict + self.prompt_loose + self.instruction_strict + self.instruction_loose) / 4


def following_rates(strict: Sequence[Sequence[bool]], loose: Sequence[Sequence[bool]]) -> FollowingRates:
    """Ratios over prompts from per-instruction results, one inner sequence per prompt.

    Raises:
        ValueError: no prompt, or a prompt without instructions, or lengths that differ.
    """
    if not strict or [len(row) for row in strict] != [len(row) for row in loose] or not all(len(row) for row in strict):
        raise ValueError(
            f"need one non-empty strict and loose row of equal length per prompt, got {len(strict)} and "
            f"{len(loose)} rows"
        )
    instructions = sum(len(row) for row in strict)
    return FollowingRates(
        prompt_strict=sum(all(row) for row in strict) / len(strict),
        prompt_loose=sum(all(row) for row in loose) / len(loose),
        instruction_strict=sum(sum(row) for row in strict) / instructions,
        instruction_loose=sum(sum(row) for row in loose) / instructions,
    )


def score_following(answer: str, task: Task) -> Score:
    """Mean of the prompt's four ratios."""
    if not task.prompt:
        raise ValueError("scorer 'instruction_following' needs the prompt of the question, which some checkers quote")
    met = check_answer(answer, task.prompt, task.instructions, task.nltk_data)
    outcome = "empty" if met.empty else "all" if met.prompt_strict else "some" if any(met.strict) else "none"
    parsed = None if met.empty else f"{sum(met.strict)} of {len(met.strict)}"
    details = {"strict": list(met.strict), "loose": list(met.loose)}
    return Score(met.score, parsed, outcome, "checkers", met.empty, details)


def _mean(scores: Scores) -> tuple[float, Interval]:
    """Mean of the four ratios; the pooled ones are ratios of sums and enter the error linearised (delta method)."""
    strict = [score.details["strict"] for score in scores]
    loose = [score.details["loose"] for score in scores]
    rates = following_rates(strict, loose)
    per_prompt = sum(len(row) for row in strict) / len(strict)
    deviations = [
        (
            (all(s) - rates.prompt_strict)
            + (all(lo) - rates.prompt_loose)
            + (sum(s) - rates.instruction_strict * len(s)) / per_prompt
            + (sum(lo) - rates.instruction_loose * len(lo)) / per_prompt
        )
        / 4
        for s, lo in zip(strict, loose)
    ]
    if rates.final in (0.0, 1.0):  # no spread to estimate from: the prompts are all failed or all met
        return rates.final, exact_interval(int(rates.final) * len(scores), len(scores))
    return rates.final, mean_interval(rates.final, deviations)


def _sums(scores: Scores) -> list[tuple[list[float], list[float]]]:
    """The four ratios: met prompts over prompts, and met instructions over instructions, strict and loose."""
    found = []
    for rule in ("strict", "loose"):
        met = [score.details[rule] for score in scores]
        found.append(([float(all(row)) for row in met], [1.0] * len(met)))
        found.append(([float(sum(row)) for row in met], [float(len(row)) for row in met]))
    return found


def _estimates(scores: Scores) -> Estimates:
    found: Estimates = {}
    for rule in ("strict", "loose"):
        met = [score.details[rule] for score in scores]
        found[f"prompt_{rule}"] = rate_estimate([all(row) for row in met])
        found[f"instruction_{rule}"] = _pooled_estimate(met)
    return found


def _pooled_estimate(met: Sequence[Sequence[bool]]) -> Estimate:
    """Share of instructions met, pooled over prompts, with the interval of a ratio of sums (delta method)."""
    per_prompt = sum(map(len, met)) / len(met)
    share = sum(map(sum, met)) / sum(map(len, met))
    found = mean_interval(share, [(sum(row) - share * len(row)) / per_prompt for row in met])
    ends = (None, None) if len(met) < 2 else (100 * found.low, 100 * found.high)
    return Estimate(100 * share, *ends, len(met), found.method)


SCORER = Scorer(
    version="2",
    score=score_following,
    layouts=("ifeval", "voicebench"),
    mean=_mean,
    sums=_sums,
    estimates=_estimates,
)
