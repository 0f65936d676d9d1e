"""Score files with planted scores, and the tables made from them."""

import numpy as np

from workflow_scripts.artifacts.scores import EstimateRecord, OptionScoreRecord, QuestionScore, ScoreFile
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.evaluation.build_gap_table import build_gap_table

OPTIONS = {"repeats": {}, "overall": ["a", "b"], "knowledge": ["b"], "backbones": {"m": "lm"}, "twins": {}}


def write(folder, subset, form, scores, model="m", checkpoint="step-000400", nll=None, details=None, **changes):
    """A score file; `nll` gives (nats, tokens) and `details` the scorer's numbers per question."""
    rows = [
        QuestionScore(
            id=f"{subset}{number}",
            score=score,
            parsed=None,
            outcome="x",
            rule="x",
            unparsed=False,
            details={} if details is None else details[number],
            reference_nll=None if nll is None or nll[number] is None else nll[number][0],
            reference_tokens=0 if nll is None or nll[number] is None else nll[number][1],
        )
        for number, score in enumerate(scores)
    ]
    costed = [pair for pair in nll or () if pair is not None]
    fields = {
        "scorer": "short_answer",
        "scorer_version": "1",
        "n": len(rows),
        "mean": 100 * float(np.mean(scores)),
        "interval_low": 10.0,
        "interval_high": 90.0,
        "interval_method": "clopper-pearson",
        "unparsed_rate": 0.25,
        "nll_per_token": sum(n for n, _ in costed) / sum(t for _, t in costed) if costed else None,
        "questions": rows,
        "provenance": {},
    } | changes
    path = folder / model / checkpoint / subset / f"{form}.scores.json"
    ScoreFile(model=model, checkpoint=checkpoint, subset=subset, form=form, **fields).write(path)
    return path


def study(folder):
    """One model with a base: Overall text 75, speech 50, asr 62.5; base text 100, base asr 75."""
    files = []
    for subset, text, speech, asr in (
        ("a", [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]),
        ("b", [1, 0, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0]),
    ):
        costs = {"text": [(2.0, 2)] * 4, "speech": [(4.0, 2)] * 4} if subset == "b" else {}
        for form, scores in (("text", text), ("speech", speech), ("asr", asr)):
            files.append(write(folder, subset, form, scores, nll=costs.get(form)))
        files.append(write(folder, subset, "text", [1, 1, 1, 1], model="lm", checkpoint="base"))
        files.append(write(folder, subset, "asr", [1, 1, 1, 0], model="lm", checkpoint="base"))
    return files


def build(folder, files, **changes):
    """gap.csv and decline.csv."""
    gap, decline = folder / "gap.csv", folder / "decline.csv"
    build_gap_table(files, gap, decline, folder / "cascade.csv", folder / "twins.csv", **(OPTIONS | changes))
    return read_table(gap, "gap"), read_table(decline, "decline")


def row(table, **wanted):
    """The one row with these values."""
    (found,) = select(table, **wanted).to_dict("records")
    return found


def values(table, *measures, **wanted):
    """The values of these measures, None for those without a row."""
    rows = [select(table, measure=measure, **wanted)["value"].tolist() for measure in measures]
    assert all(len(found) < 2 for found in rows)
    return [found[0] if found else None for found in rows]


def ends(table, **wanted):
    """Value, low and high of one row."""
    found = row(table, **wanted)
    return found["value"], found["low"], found["high"]


def choices(folder, form, right, letters, chance=0.25, **changes):
    """A multiple-choice score file: `right` and the margin of the right letter per question (None: none measured)."""
    rows = [
        QuestionScore(
            id=f"a{number}",
            score=score,
            parsed="A" if score else "B",
            outcome="correct" if score else "wrong",
            rule="whole",
            unparsed=False,
            details={"chance": chance},
            options=None
            if margin is None
            else OptionScoreRecord(
                letter="A",
                letter_correct=margin > 0,
                letter_log_prob=-0.5,
                letter_margin=margin,
                outside_mass=0.25,
                option=None,
                option_correct=False,
                option_log_prob=-1,
                option_margin=-margin,
            ),
        )
        for number, (score, margin) in enumerate(zip(right, letters))
    ]
    estimates = {"corrected": EstimateRecord(value=1, low=-7, high=9, n=len(rows), method="clopper-pearson")}
    fields = {"scorer": "multiple_choice", "questions": rows, "estimates": estimates}
    return write(folder, "a", form, right, **(fields | changes))
