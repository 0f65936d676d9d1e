r"""Read which option a free-text answer chooses; never guess (ours).

VoiceBench's reader tries 163 literal templates and draws a random letter when none fits: it takes "the answer is a
marsh" for A and cannot read ``**B**``. This one knows a small grammar and returns None when an answer chooses nothing,
or more than one option. Rules, first one that speaks wins; a rule that finds two different letters ends the search as
``ambiguous``:

1. ``whole``: the answer is one letter. ``option_text``: the answer is exactly one option's text.
2. ``last``: the last line or sentence is one letter.
3. ``boxed``, ``final``: the conclusion ("\boxed{C}", "so the answer is C") outranks options named on the way.
   What takes an answer back is a conclusion: "The answer is A. No, wait, the answer is C." is C.
4. ``cue``: "the answer is C", "I would pick C", "C is correct"; ``cue_text``: a cue followed by an option's text.
5. ``bold``: a letter set in bold. ``leading``: a line starts with a letter and a delimiter, and only one line does.
6. ``mention``: "option C".
7. ``text``: the text of exactly one option occurs, at token boundaries and not negated.

Options are also named without being chosen. An answer that announces a review ("let's analyze each option") chooses by
statement only, rules 1 to 4: small models are cut off after the first option they discuss, and reading its heading as a
choice would make every such answer an A. Two or more lines that open with different letters are a list of options, and
so are "A. gold B. iron" within one, and "A, B, or C"; a lone letter at the end that continues such a list is its next
heading.

A letter outranks a contradicting text ("C. marsh" where C is desert), because the questions ask for a letter. A bare
lower-case "a" is a letter only where it cannot be an article.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from workflow_scripts.scoring.choice_cues import Statement, find_statements
from workflow_scripts.scoring.estimates import chance_corrected, corrected_estimate, share_estimate
from workflow_scripts.scoring.option_lists import (
    LETTERS,
    MASK,
    announces_review,
    before_review,
    continues_list,
    inline_list,
    is_no_choice,
    listed_at,
    opening_letters,
    rejected_at,
    rejected_openings,
)
from workflow_scripts.scoring.option_texts import OptionsSaid, options_said, sole_option
from workflow_scripts.scoring.question_formats import check_letter
from workflow_scripts.scoring.scorer import Estimates, Score, Scorer, Scores, Task
from workflow_scripts.scoring.text_normalisation import plain_characters

_LONGEST_ANSWER = 20_000  # characters; of a longer answer the beginning and the end are read

_LATEX = re.compile(r"\\(?:text|mathbf|mathrm|textbf|mathit|textit|rm|bf)\s?\{([^{}\n]{0,200})\}")
_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{\s?\(?([A-Za-z])\)?(?:[.):,\s][^{}\n]{0,200})?\}")
_BOX_TEXT = re.compile(r"\\(?:boxed|fbox)\s?\{([^{}\n]{0,200})\}")
_BOLD = re.compile(r"(?:\*\*|__)\s?[(\[]?([A-Za-z])(?:[)\]]?[.:)]?\s?(?:\*\*|__)|[)\].:] ?[^*_\n]{1,200}(?:\*\*|__))")
_ONLY_LETTER = re.compile(r"[\W_]{0,6}(?:option |answer |choice )?[\W_]{0,3}([A-Za-z])[\W_]{0,6}", re.IGNORECASE)
_LINE_LEADING = re.compile(
    r"(?:^|(?<=\n))[\"'(\[]{0,2}([A-Za-z])"
    r"(?:(?=[)\]]{0,2}(?:\n|$))|[)\]]{1,2}[.:]?(?= |$)|[.:,](?= |\n|$)|:(?=\w)| ?[-–—](?= )|(?= because\b))"
)
_ENUMERATED = re.compile(r"(?<![A-Za-z0-9'])(?<!\bnot )\(?([A-Za-z])[.):](?=\s|$)")
_BOLD_SPAN = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_ENDS_IN_LETTER = re.compile(r"(?<![A-Za-z0-9])[A-Za-z][\W_]*\Z")  # "C. d": d is a text, not a conclusion
_CUT_ARTICLE = re.compile(r"(?<=[.!?\"'])[ \n]A\Z")  # a new sentence that was cut off after its first word
_SENTENCE = re.compile(r"[.!?:](?: |$)|\n")


@dataclass(frozen=True)
class Choice:
    """What an answer chooses.

    Attributes:
        letter: upper-case letter of the chosen option; None if the answer chooses none or several.
        rule: the rule that decided (module docstring), or "ambiguous", "unparsed" or "empty".
    """

    letter: str | None
    rule: str


def _without_thinking(text: str) -> str:
    """Drop thinking blocks; an unclosed block is all thinking and leaves nothing after it."""
    text = text.rsplit("</think>", 1)[-1]
    return text.split("<think>", 1)[0]


def _plain(response: str) -> str:
    """The response in plain characters, single spaces and line breaks, without a leading ``<1>``."""
    text = _without_thinking(plain_characters(response))
    if len(text) > _LONGEST_ANSWER:
        half = _LONGEST_ANSWER // 2
        text = f"{text[:half]}\n{text[-half:]}"
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r" ?\n[ \n]*", "\n", text).strip()
    text = re.sub(r"^<[123]> ?", "", text)
    for _ in range(2):  # \textbf{\text{C}}
        text = _LATEX.sub(r"\1", text)
    return text


def _without_marks(text: str) -> str:
    """Drop the marks of markdown and LaTeX that can stand around a letter."""
    text = _BOX_TEXT.sub(r"\1", text)
    text = re.sub(r"\\[()\[\]]|[*`$#>|]|__", "", text)
    text = re.sub(r"(?:^|(?<=\n))[-•] ", "", text)
    return re.sub(r" +", " ", text).strip()


def _letter(character: str, count: int) -> str | None:
    upper = character.upper()
    return upper if upper in LETTERS[:count] else None


def _only_letter(piece: str, count: int) -> str | None:
    match = _ONLY_LETTER.fullmatch(piece) if len(piece) < 40 else None
    return _letter(match.group(1), count) if match else None


def _decide(letters: set[str], rule: str) -> Choice | None:
    if not letters:
        return None
    return Choice(next(iter(letters)), rule) if len(letters) == 1 else Choice(None, "ambiguous")


def _stated(statements: list[Statement], strength: str, rule: str) -> Choice | None:
    return _decide({letter for s in statements if s.strength == strength for letter in s.letters}, rule)


def _by_cue(statements: list[Statement], cued: Collection[int]) -> Choice | None:
    """Letters and texts behind a cue; "the answer is C. The answer is a marsh" says two things."""
    letters = {letter for s in statements if s.strength == "cue" for letter in s.letters}
    return _decide(letters | {LETTERS[index] for index in cued}, "cue" if letters else "cue_text")


def _by_bold(marked: str, count: int) -> Choice | None:
    letters = {letter for character in _BOLD.findall(marked) if (letter := _letter(character, count))}
    return None if len(letters) == count and count > 2 else _decide(letters, "bold")


def _by_bold_text(marked: str, options: Sequence[str]) -> Choice | None:
    """An option's text in bold before a review is announced; the headings of the review are bold as well."""
    spans = _BOLD_SPAN.findall(before_review(marked))
    return _decide({LETTERS[index] for span in spans if (index := sole_option(span, options)) is not None}, "bold")


def _enumerated(text: str, count: int) -> set[str]:
    """Upper-case option letters that stand anywhere with a delimiter."""
    return {
        letter
        for character in _ENUMERATED.findall(text)
        if character.isupper() and (letter := _letter(character, count))
    }


def _by_leading(text: str, options: Sequence[str]) -> Choice | None:
    """A line that opens with a letter; silent when several options are listed, since the list is the question's."""
    count = len(options)
    enumerated = _enumerated(text, count)
    found = set()
    for match in _LINE_LEADING.finditer(text):
        character, after = match.group(1), text[match.end() : match.end() + 60]
        opened = match.group()
        if character.islower() and not re.search(r"[.):]$", opened) and after[:1] not in ("", "\n"):
            continue
        letter = _letter(character, count)
        if letter and not is_no_choice(text[match.end() : match.end() + 400], letter, options[LETTERS.index(letter)]):
            found.add(letter)
    return Choice(found.pop(), "leading") if len(found) == 1 and len(enumerated | found) == 1 else None


def _without_inline_list(text: str, options: Sequence[str]) -> str:
    """The text without options that are listed within one line, nor the next heading of that list ("B. carbon C.")."""
    listed = inline_list(text, options)
    for start, end in reversed(listed):
        after = re.sub(r"^[ .,:)]*[A-Z][.)]?(?=\n|$)", "", text[end:])
        text = f"{text[:start]}{MASK}{after}"
    return text


def _by_text(text: str, said: OptionsSaid, options: Sequence[str]) -> Choice | None:
    """The one option named by its text; silent for a list of options, and if other options are named by letter."""
    if len(opening_letters(text, len(options))) > 1:
        return None
    choice = _decide({LETTERS[index] for index in said.contained - rejected_openings(text, options)}, "text")
    named = _enumerated(said.masked, len(options))
    return None if choice and choice.letter and named - {choice.letter} else choice


def _doubt_letter_texts(choice: Choice, options: Sequence[str]) -> Choice:
    """ "B" is ambiguous if another option's text is "B" (blood groups, elements), unless it opens a line."""
    texts = {option.upper(): LETTERS[index] for index, option in enumerate(options) if len(option) == 1}
    doubtful = choice.rule != "leading" and texts.get(choice.letter, choice.letter) != choice.letter
    return Choice(None, "ambiguous") if doubtful else choice


def parse_choice(response: str, options: Sequence[str]) -> Choice:
    """Read the chosen option of a multiple-choice answer.

    Args:
        response: the model's answer, any text.
        options: texts of the options A, B, ... in order, 2 to 26 of them. Empty texts are allowed; they never match.

    Returns:
        The letter and the rule that found it. ``letter`` is None with rule "empty" (nothing was said), "ambiguous" (two
        letters by the same rule) or "unparsed" (no rule applies).

    Raises:
        ValueError: fewer than 2 or more than 26 options.
    """
    count = len(options)
    if isinstance(options, str) or not 2 <= count <= len(LETTERS):
        raise ValueError(f"a multiple-choice question needs 2 to {len(LETTERS)} options, got {options!r}")
    options = [_without_marks(_plain(option)) for option in options]
    marked = _plain(response)
    text = _without_marks(marked)
    if not text:
        return Choice(None, "empty")

    if letter := _only_letter(text, count):
        return _doubt_letter_texts(Choice(letter, "whole"), options)
    if (index := sole_option(text, options)) is not None:
        return Choice(LETTERS[index], "option_text")
    text = _CUT_ARTICLE.sub("", text)
    pieces = [piece for piece in _SENTENCE.split(text[-400:]) if re.search(r"\w", piece)]
    last = _only_letter(pieces[-1], count) if len(pieces) > 1 and not _ENDS_IN_LETTER.search(pieces[-2]) else None
    if last and not continues_list(text, last, count):
        return Choice(last, "last")

    boxed = {letter for character in _BOX.findall(marked) if (letter := _letter(character, count))}
    said = options_said(text, options)
    listed = inline_list(said.masked, options)
    statements = [
        statement
        for statement in find_statements(said.masked, count)
        if not rejected_at(said.masked, statement.position, options)
        and not listed_at(said.masked, statement.position, listed)
    ]
    found = _decide(boxed, "boxed") or _stated(statements, "final", "final") or _by_cue(statements, said.cued)
    if found is None and announces_review(text):
        found = _by_bold_text(marked, options)
    elif found is None and last is None:
        prose = _without_inline_list(text, options)
        if prose != text:
            text, said = prose, options_said(prose, options)
        found = (
            _by_bold(marked, count)
            or _by_leading(said.masked, options)
            or _stated(statements, "mention", "mention")
            or _by_text(text, said, options)
        )
    return _doubt_letter_texts(found or Choice(None, "unparsed"), options)


def score_choice(answer: str, task: Task) -> Score:
    """1 for the right letter; an answer without a readable choice counts as wrong, in expectation as a guess."""
    check_letter(task.reference, task.options)
    choice = parse_choice(answer, task.options)
    correct = choice.letter == task.reference[0]
    unparsed = choice.letter is None
    outcome = choice.rule if unparsed else "correct" if correct else "wrong"
    chance = 1 / len(task.options)
    details = {"expected": chance if unparsed else float(correct), "chance": chance}
    return Score(float(correct), choice.letter, outcome, choice.rule, unparsed, details)


def _estimates(scores: Scores) -> Estimates:
    corrected = corrected_estimate([score.score for score in scores], [score.details["chance"] for score in scores])
    expected = share_estimate([score.details["expected"] for score in scores])
    return {"corrected": corrected, "expected": expected}


SCORER = Scorer(
    version="5",
    score=score_choice,
    layouts=("openbookqa", "mmlu", "voicebench"),
    estimates=_estimates,
    measures={"corrected": lambda score, details: 100 * chance_corrected(score, details["chance"])},
    closed_answers=True,
)
