"""The choice parser on answers of real models, labelled by reading each one (tests/data/README.md)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from workflow_scripts.scoring.multiple_choice import LETTERS, parse_choice

PATH = Path(__file__).parents[1] / "data" / "choice_answers.jsonl"
ANSWERS = [json.loads(line) for line in PATH.read_text("utf-8").split("\n") if line]
PRECISION_GOAL, RECALL_GOAL = 0.99, 0.97


def counts(rows) -> Counter:
    """Answers read as the label says, letters read wrongly or where none is, and labelled letters not read."""
    found = Counter()
    for row in rows:
        letter = parse_choice(row["answer"], row["options"]).letter
        if letter is not None:
            found["right" if letter == row["letter"] else "wrong"] += 1
        if row["letter"] is not None and letter != row["letter"]:
            found["missed"] += 1
    return found


def rates(found: Counter) -> tuple[float, float]:
    """Precision (letters read that are right) and recall (labelled letters that are read)."""
    read, labelled = found["right"] + found["wrong"], found["right"] + found["missed"]
    return found["right"] / read if read else 1.0, found["right"] / labelled if labelled else 1.0


def kind(row) -> str:
    source = row["source"]
    return f"{source['model']}, {source['checkpoint']}, {source['form']}"


def test_the_corpus_is_large_real_and_varied():
    assert len({row["answer"] for row in ANSWERS}) == len(ANSWERS) >= 400
    assert len({row["source"]["model"] for row in ANSWERS}) >= 3
    assert len({row["source"]["checkpoint"] for row in ANSWERS}) >= 4
    assert {row["source"]["form"] for row in ANSWERS} == {"text", "speech", "asr"}
    assert sum(row["letter"] is None for row in ANSWERS) > 100
    assert all(row["letter"] is None or row["letter"] in LETTERS[: len(row["options"])] for row in ANSWERS)
    assert PATH.stat().st_size < 500_000


def test_precision_and_recall_reach_their_goals(capsys):
    groups = {"all": ANSWERS}
    for row in ANSWERS:
        groups.setdefault(kind(row), []).append(row)
    lines = []
    for name, rows in groups.items():
        found = counts(rows)
        precision, recall = rates(found)
        lines.append(f"{name:45s} n {len(rows):4d}  precision {precision:.4f}  recall {recall:.4f}  {dict(found)}")
    with capsys.disabled():
        print("\n" + "\n".join(lines))
    precision, recall = rates(counts(ANSWERS))
    assert precision >= PRECISION_GOAL
    assert recall >= RECALL_GOAL


@pytest.mark.parametrize("letter", ["A", "B", "C", "D"])
def test_no_letter_is_favoured(letter):
    """Among answers without a choice, and among letters read, no letter is found more often than it is said."""
    read = Counter(parse_choice(row["answer"], row["options"]).letter for row in ANSWERS)
    said = Counter(row["letter"] for row in ANSWERS)
    assert abs(read[letter] - said[letter]) <= 4


def test_answers_that_choose_nothing_are_mostly_left_unread():
    silent = [row for row in ANSWERS if row["letter"] is None]
    read = sum(parse_choice(row["answer"], row["options"]).letter is not None for row in silent)
    assert read / len(silent) < 0.03
