"""Candidate training prompts of one source: questions, multiple-choice questions, sentences and words to repeat.

What is trained to be said comes with the data (`response`), or is left to the backbone: a candidate without a reference
is answered by it in the training stage.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.dataset_rows import cell_text, dataset_rows, has_half_a_character
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.benchmark.candidates import Candidate, RowError, text_of
from workflow_scripts.benchmark.layouts import choice_candidate, sentence_candidate
from workflow_scripts.benchmark.options import named_option, unfit_options
from workflow_scripts.settings.training import PromptSource

logger = logging.getLogger(__name__)
N_OPTIONS = 4
"""Options of a multiple-choice prompt, as its closing line names A to D."""
UNUSABLE = "unusable row"
MAX_UNUSABLE_SHARE = 0.05
"""If more of a file's rows are unusable, the source is described wrongly, and the step stops."""
MAX_NAMED_ROWS = 3
_OPTION_LINE = re.compile(r"^\(?[A-Za-z][.):]\s+(.+)$")
_WORD = re.compile(r"(?<![\w'.-])[a-z]*[aeiouy][a-z]*(?![\w'-]|\.\w)")
"""What a voice reads as a word: letters with a vowel; parts of words, abbreviations and numbers are none."""


def source_candidates(path: Path, source: PromptSource, *, seed: int) -> list[Candidate]:
    """All rows of a data file (parquet, JSON lines or CSV) as candidates, in file order; unusable ones have a reason.

    With layout `words` a candidate is a list of `words_per_prompt` words of the file, dealt by the seed.

    Raises:
        ArtifactError: more than `MAX_UNUSABLE_SHARE` of the rows lack a text, a response, or options that fit; says how
            many, and of the first ones why.
    """
    if source.layout == "words":
        return _word_lists(path, source, seed)
    read = _LAYOUTS[source.layout]
    found, bad = [], []
    for number, row in dataset_rows(path):
        try:
            found.append(read(number, row, source))
        except RowError as error:
            bad.append(f"row {number}: {error}")
            found.append(Candidate(number, UNUSABLE, UNUSABLE, reason=UNUSABLE))
    if bad:
        named = "; ".join(bad[:MAX_NAMED_ROWS]) + ("; ..." if len(bad) > MAX_NAMED_ROWS else "")
        problem = f"{path}: {len(bad)} of {len(found)} rows cannot become training prompts ({named})"
        if len(bad) > MAX_UNUSABLE_SHARE * len(found):
            raise ArtifactError(
                f"{problem}; check `field`, `response` and `options` of this source, or remove these rows; without "
                "`response` the backbone answers itself"
            )
        logger.warning("%s; they are left out", problem)
    return found


def scorer_of(source: PromptSource) -> str:
    """What the reference of the source's prompts is: a sentence, a right letter, or an answer (perhaps none)."""
    if source.is_repeated:
        return "repeat"
    return "multiple_choice" if source.layout == "multiple_choice" and source.response else "short_answer"


def _question(number: int, row: dict[str, Any], source: PromptSource) -> Candidate:
    text = text_of(row, source.field)
    return Candidate(number, text, text, [response_of(row, source)] if source.response else [])


def _sentence(number: int, row: dict[str, Any], source: PromptSource) -> Candidate:
    return sentence_candidate(number, text_of(row, source.field))


def _word_lists(path: Path, source: PromptSource, seed: int) -> list[Candidate]:
    """Each word of the file once, whatever row it is in; what is left after the last whole list is left out."""
    counts: Counter[str] = Counter()
    for number, row in dataset_rows(path):
        try:
            counts.update(_WORD.findall(text_of(row, source.field).lower()))
        except RowError as error:
            raise ArtifactError(f"{path}, row {number}: {error}; check `field` of this source") from error
    words = sorted(word for word, count in counts.items() if count >= source.word_count)
    dealt = np.random.default_rng(seed).permutation(len(words))
    size = source.words_per_prompt
    lists = [" ".join(words[place] for place in dealt[i : i + size]) for i in range(0, len(words) - size + 1, size)]
    return [sentence_candidate(number, text) for number, text in enumerate(lists, 1)]


def _multiple_choice(number: int, row: dict[str, Any], source: PromptSource) -> Candidate:
    question, texts = text_of(row, source.field), options_of(row, source.options)
    right = _right_option(response_of(row, source), texts) if source.response else None
    kept = _four(texts, right, number)
    if reason := unfit_options(kept):
        return Candidate(number, question, question, reason=reason)
    place = None if right is None else kept.index(texts[right])
    return choice_candidate(number, question, kept, place, separator="\n")


_LAYOUTS: dict[str, Callable[[int, dict[str, Any], PromptSource], Candidate]] = {
    "question": _question,
    "sentence": _sentence,
    "multiple_choice": _multiple_choice,
}


def response_of(row: dict[str, Any], source: PromptSource) -> str:
    """The row's response as text (`cell_text`): of a list the first, renamed as asked.

    Raises:
        RowError: it is missing or empty, or cannot be written.
    """
    value = row.get(source.response)
    text = cell_text(value[0] if isinstance(value, list) and value else value)
    if not text:
        raise RowError(f"no text in response field {source.response!r}")
    if has_half_a_character(text):
        raise RowError(f"response {text[:40]!r} holds half a character (a lone surrogate)")
    return source.response_map.get(text, text)


def options_of(row: dict[str, Any], name: str) -> list[str]:
    """The row's options without their letters: a list, or one text with a line, or a `|`, between them.

    Raises:
        RowError: missing, fewer than four, or one of a list has no text: to drop it would move the letters behind it.
    """
    value = row.get(name)
    if isinstance(value, str):
        texts = [line.strip() for line in re.split(r"\n|\|", value) if line.strip()]
    else:
        texts = [cell_text(one) for one in value] if isinstance(value, list) else []
    if "" in texts:
        raise RowError(f"option {texts.index('') + 1} of {value!r:.80} in field {name!r} has no text")
    matches = [_OPTION_LINE.match(text) for text in texts]
    if texts and all(matches):
        texts = [match[1].strip() for match in matches]
    if len(texts) < N_OPTIONS:
        raise RowError(f"{len(texts)} options in field {name!r}, {N_OPTIONS} are needed")
    return texts


def _right_option(response: str, texts: Sequence[str]) -> int:
    try:
        return named_option(response, texts)
    except RowError as error:
        raise RowError(f"response {error}") from None


def _four(texts: Sequence[str], right: int | None, number: int) -> list[str]:
    """Four options in their order, the right one among them; which wrong ones go is drawn from the row's number."""
    wrong = [place for place in range(len(texts)) if place != right]
    n_wrong = N_OPTIONS - (right is not None)
    kept = set(np.random.default_rng(number).permutation(wrong)[:n_wrong].tolist()) | ({right} - {None})
    return [text for place, text in enumerate(texts) if place in kept]
