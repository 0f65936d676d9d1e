r"""Read a yes or a no from a free-text answer, for questions that have one of the two as reference (BBH of VoiceBench).

VoiceBench's own reader goes through some 400 phrases in a fixed order, takes the answer "b" of a two-option task for
(A), reads "the sentence ... is not plausible" as yes, and draws at random where no phrase fits (issue 26 there). Here a
small grammar reads, or says that nothing was said; rules, the first that speaks wins:

1. ``whole``: the answer is yes or no. ``final``: the last "(final) answer is yes", "answer: no".
2. ``leading``: the answer, or its last line, opens with yes or no.
3. ``statement``, in the last sentence that has one: "is (not) plausible", "(does not) tell the truth", "lies",
   "you (do not) return to the starting point", negated or not.
4. ``last``: the answer ends in yes or no.

A rule that finds both is ``ambiguous``. References (A), (B), ... of the same benchmark are read by
`multiple_choice.parse_choice`.
"""

import re

from workflow_scripts.scoring.estimates import chance_corrected, corrected_estimate, share_estimate
from workflow_scripts.scoring.multiple_choice import Choice, parse_choice
from workflow_scripts.scoring.question_formats import check_yes_no
from workflow_scripts.scoring.scorer import Estimates, Score, Scorer, Scores, Task
from workflow_scripts.scoring.text_normalisation import plain_characters

_THINKING = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)
_MARKS = re.compile(r"[*_`#>\"“”]|\\boxed|[{}$]")
_WHOLE = re.compile(r"\W*(yes|no)\W*", re.IGNORECASE)
_FINAL = re.compile(
    r"\b(?:answer|conclusion|response)\b(?: to (?:the|this|your) question)?"
    r"(?: (?:is|would be|should be|must be)|\s?[:=-])(?: (?:therefore|thus|simply|clearly))?"
    r"[\s:(]*(yes|no)\b(?! (?:one|longer))",
    re.IGNORECASE,
)
_LEADING = re.compile(r"\W*(yes|no)\b(?! (?:one|doubt|matter|longer|problem|idea))", re.IGNORECASE)
_LAST = re.compile(r"\b(yes|no)\W*\Z", re.IGNORECASE)
_NOT = r"(?:not|n't|never|cannot)"
_NO = re.compile(
    r"\b(?:implausible|impossible|unlikely|nonsensical)\b|\b(?:lies|lying|liar)\b"
    rf"|{_NOT}(?: \w+){{0,4}} (?:plausible|possible|make sense|realistic)\b"
    rf"|{_NOT}(?: \w+){{0,2}} (?:tell|telling|tells)(?: \w+)? truth"
    rf"|{_NOT}(?: \w+){{0,3}} (?:return|back|end up|at)\b.*?(?:start|origin)",
    re.IGNORECASE,
)
_YES = re.compile(
    r"\b(?:plausible|possible|makes sense|realistic)\b|\b(?:tell|telling|tells)(?: \w+)? truth"
    r"|\b(?:return|back|end up|at)\b.*?(?:start|origin)",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def read_yes_no(answer: str) -> Choice:
    """`letter` is "yes", "no" or None; `rule` is the rule that decided, "ambiguous", "unparsed" or "empty"."""
    text = _MARKS.sub(" ", _THINKING.sub("", plain_characters(answer)))
    text = re.sub(r"[^\S\n]+", " ", text).strip()
    if not text:
        return Choice(None, "empty")
    if whole := _WHOLE.fullmatch(text):
        return Choice(whole[1].lower(), "whole")
    if final := _FINAL.findall(text):
        return Choice(final[-1].lower(), "final")
    opened = {match[1].lower() for line in (text, text.rpartition("\n")[2]) if (match := _LEADING.match(line))}
    if opened:
        return Choice(opened.pop(), "leading") if len(opened) == 1 else Choice(None, "ambiguous")
    for sentence in reversed(_SENTENCE.split(text)):
        # The last statement of a sentence; of a negated one and the plain one within it, the negated.
        ends = {word: [found.end() for found in said.finditer(sentence)] for word, said in (("no", _NO), ("yes", _YES))}
        if ends["no"] or ends["yes"]:
            return Choice(max(("no", "yes"), key=lambda word: max(ends[word], default=-1)), "statement")
    if last := _LAST.search(text):
        return Choice(last[1].lower(), "last")
    return Choice(None, "unparsed")


def score_yes_no(answer: str, task: Task) -> Score:
    """1 for the right word or letter; an answer without one counts as wrong, in expectation as a guess between two."""
    check_yes_no(task.reference)
    right = task.reference[0].strip("()")
    options = list(task.options) or ["", ""]
    if right.lower() in ("yes", "no"):
        read, right, chance = read_yes_no(answer), right.lower(), 0.5
    else:
        read, right, chance = parse_choice(answer, options), right.upper(), 1 / len(options)
    unparsed, correct = read.letter is None, read.letter == right
    outcome = read.rule if unparsed else "correct" if correct else "wrong"
    details = {"expected": chance if unparsed else float(correct), "chance": chance}
    return Score(float(correct), read.letter, outcome, read.rule, unparsed, details)


def _estimates(scores: Scores) -> Estimates:
    corrected = corrected_estimate([score.score for score in scores], [score.details["chance"] for score in scores])
    return {"corrected": corrected, "expected": share_estimate([score.details["expected"] for score in scores])}


SCORER = Scorer(
    version="1",
    score=score_yes_no,
    layouts=("voicebench",),
    estimates=_estimates,
    measures={"corrected": lambda score, details: 100 * chance_corrected(score, details["chance"])},
    closed_answers=True,
)
