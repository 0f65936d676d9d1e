"""From answer files of any harness to the gap under every scorer: planted numbers, pairing, verdicts and the page."""

import json
import re
from typing import get_args

import numpy as np
import pytest

from tests.audit.answer_files import GOLD, SPEECH, TEXT, WRITERS, lines, prompt, questions
from tests.scoring.mini_voicebench import write_checkout
from workflow_scripts.artifacts.tables import read_columns, select
from workflow_scripts.audit.__main__ import main
from workflow_scripts.audit.audit_answers import audit_answers
from workflow_scripts.audit.given import AuditError
from workflow_scripts.audit.harnesses import HARNESSES
from workflow_scripts.audit.run import TABLES, Options, audit, write_audit
from workflow_scripts.settings.audits import AuditSettings, Harness
from workflow_scripts.statistics.means import of_scores


def run(tmp_path, harness="jsonl", asr=None, **options):
    forms = {
        "text": [WRITERS[harness](tmp_path, "text", TEXT)],
        "speech": [WRITERS[harness](tmp_path, "speech", SPEECH)],
    }
    if asr is not None:
        forms["asr"] = [WRITERS[harness](tmp_path, "asr", asr)]
    forms = {form: [str(path) for path in paths] for form, paths in forms.items()}
    return audit(forms, Options(harness, questions=questions(tmp_path), **options))


def value(found, **keys):
    rows = [row for row in found.tables["gap"] if all(row[name] == key for name, key in keys.items())]
    assert len(rows) == 1, (keys, rows)
    return rows[0]["value"]


@pytest.mark.parametrize("harness", WRITERS)
def test_the_same_answers_give_the_same_gap_in_every_format(tmp_path, harness):
    found = run(tmp_path, harness, subset="openbookqa")
    # Read: text B C A D B A (all right), speech B - A (empty) C A: three of six right, two unread.
    keys = {"subset": "openbookqa", "group": "all", "measure": "score"}
    assert value(found, scorer="multiple_choice", form="text", **keys) == 100
    assert value(found, scorer="multiple_choice", form="speech", **keys) == 50
    assert value(found, scorer="multiple_choice", form="gap", **keys) == 50
    assert value(found, scorer="multiple_choice (expected)", form="gap", **keys) == pytest.approx(100 * (6 - 3.5) / 6)
    unread = keys | {"measure": "unparsed"}
    assert value(found, scorer="multiple_choice", form="speech", **unread) == pytest.approx(2 / 6)
    assert found.facts["pairs"] == 6 and found.facts["unpaired"] == 0


def test_the_official_evaluator_of_a_checkout_stands_beside_ours(tmp_path):
    found = run(tmp_path, official=write_checkout(tmp_path))
    keys = {"scorer": "VoiceBench", "source": "official", "measure": "score", "group": "all"}
    # The miniature evaluator reads answers that are one letter: C and A in text, A in speech; the rest is guessed.
    assert value(found, form="text", **keys) == pytest.approx(100 * (2 + 4 / 4) / 6)
    assert value(found, form="speech", **keys) == pytest.approx(100 * (1 + 5 / 4) / 6)
    assert found.facts["evaluators_sha256"]


def test_scores_of_the_harness_itself_are_a_scorer_of_their_own(tmp_path):
    found = run(tmp_path, "lmms-eval")
    rows = [row for row in found.tables["gap"] if row["source"] == "recorded" and row["form"] == "text"]
    assert [row["value"] for row in rows] == [pytest.approx(100 * 2 / 6)]


def test_the_interval_is_that_of_the_workflow_s_gap_table(tmp_path):
    found = run(tmp_path, subset="mine", seed=5)
    row = next(r for r in found.tables["gap"] if r["scorer"] == "multiple_choice" and r["form"] == "gap")
    text, speech = np.full(6, 100.0), np.array([100.0, 0, 100, 0, 0, 100])
    assert (row["low"], row["high"]) == (of_scores(text) - of_scores(speech)).interval


def test_mcnemar_counts_what_was_right_in_one_form_only(tmp_path):
    row = next(row for row in run(tmp_path).tables["tests"] if row["scorer"] == "multiple_choice")
    assert (row["text_only"], row["speech_only"], row["n"]) == (3, 0, 6)
    assert row["p"] == 0.25


def test_a_cascade_splits_the_gap_and_has_its_agreement(tmp_path):
    asr = ["B", "D", "A", "", "B", "A"]
    found = run(tmp_path, asr=asr)
    keys = {"scorer": "multiple_choice", "measure": "score", "group": "all"}
    parts = [value(found, form=form, **keys) for form in ("gap", "asr_loss", "modality_loss")]
    assert parts == [pytest.approx(50), pytest.approx(100 / 3), pytest.approx(100 / 6)]
    kappa = [r for r in found.tables["cascade"] if r["measure"] == "kappa" and r["scorer"] == "multiple_choice"]
    assert kappa[0]["value"] == pytest.approx((5 / 6 - 0.5) / 0.5)


def test_traits_of_answers_are_counted_by_form(tmp_path):
    rows = {(row["form"], row["trait"]): row["share"] for row in run(tmp_path).tables["traits"]}
    assert rows["speech", "empty"] == pytest.approx(1 / 6)
    assert rows["text", "empty"] == 0


def many(tmp_path, form, answers, **extra):
    rows = [
        {"id": f"q{n:03d}", "prompt": prompt(n), "reference": "A", "answer": answer, **extra}
        for n, answer in enumerate(answers)
    ]
    return str(lines(tmp_path / f"{form}.jsonl", rows))


def conclusions(tmp_path, text, speech, **options):
    forms = {"text": [many(tmp_path, "text", text)], "speech": [many(tmp_path, "speech", speech)]}
    return audit(forms, Options("jsonl", official=write_checkout(tmp_path), **options)).conclusions[0]


def test_a_gap_that_one_scorer_reverses_is_called_so(tmp_path):
    # Speech is right more often, in words that the miniature evaluator cannot read; text is right in plain letters.
    found = conclusions(tmp_path, ["A"] * 60 + ["B"] * 40, ["The answer is A."] * 90 + ["B"] * 10)
    assert found.changes
    assert found.verdict == (
        "The choice of scorer changes the sign of the gap: positive under VoiceBench, negative under multiple_choice "
        "and multiple_choice (expected)."
    )
    assert found.low > 0, "the difference of the two gaps is itself distinguished from 0"


def test_a_gap_that_one_scorer_loses_is_called_so(tmp_path):
    found = conclusions(tmp_path, ["A"] * 80 + ["B"] * 20, ["A"] * 60 + ["The answer is A."] * 20 + ["B"] * 20)
    assert "changes the significance of the gap: positive under VoiceBench, not" in found.verdict


def test_scorers_that_agree_are_said_to_agree(tmp_path):
    found = conclusions(tmp_path, ["A"] * 90 + ["B"] * 10, ["A"] * 50 + ["B"] * 50)
    assert not found.changes
    assert found.verdict == "Every scorer calls the gap positive: the choice of scorer changes its size only."


def test_few_pairs_are_said_to_be_few(tmp_path):
    assert conclusions(tmp_path, ["A"] * 4, ["B"] * 4).verdict.endswith("With 4 pairs these intervals are rough.")


def test_answers_without_a_partner_are_counted_and_listed(tmp_path):
    text = many(tmp_path, "text", ["A"] * 5)
    speech = tmp_path / "speech.jsonl"
    many(tmp_path, "speech", ["A"] * 7)
    rows = [json.loads(line) for line in speech.read_text().splitlines()][1:]
    rows[1]["reference"] = "B"
    lines(speech, rows)
    found = audit({"text": [text], "speech": [str(speech)]}, Options("jsonl"))
    assert found.facts["pairs"] == 3
    reasons = sorted((row["form"], row["key"], row["reason"]) for row in found.tables["unpaired"])
    assert reasons == [
        ("speech", "q002", "the same id, but another reference than the text answer's"),
        ("speech", "q005", "no text answer with this id"),
        ("speech", "q006", "no text answer with this id"),
        ("text", "q000", "no speech answer with this id"),
        ("text", "q002", "the same id, but another reference than the text answer's"),
    ]


def test_failed_answers_are_listed_and_are_not_wrong_answers(tmp_path):
    paths = {form: WRITERS["kimi-evalkit"](tmp_path, form, TEXT) for form in ("text", "speech")}
    paths["speech"].write_text(paths["speech"].read_text().replace('"prediction": "C"', '"prediction": "null"'))
    found = audit({form: [str(path)] for form, path in paths.items()}, Options("kimi-evalkit"))
    assert found.facts["pairs"] == 5
    assert {row["reason"] for row in found.tables["unpaired"]} == {
        "its speech answer failed",
        "the harness recorded 'null'",
    }


def test_files_of_two_harnesses_can_be_paired(tmp_path):
    text = WRITERS["voicebench"](tmp_path, "text", TEXT)
    speech = WRITERS["kimi-evalkit"](tmp_path, "speech", SPEECH)
    found = audit({"text": [f"voicebench:{text}"], "speech": [f"kimi-evalkit:{speech}"]}, Options(""))
    assert found.facts["keys"] == {"openbookqa": "text"} and found.facts["pairs"] == 6


def test_domains_in_files_of_their_own_are_pooled_and_their_ids_do_not_collide(tmp_path):
    forms, asked = {}, []
    for form, answers in (("text", "AA"), ("speech", "AB")):
        forms[form] = []
        for domain in ("law", "history"):
            rows = [
                {"doc_id": n, "filtered_resps": a, "input": "Listen.", "target": "target_text"}
                for n, a in enumerate(answers)
            ]
            path = tmp_path / form / f"20261101_samples_voicebench_mmsu_{domain}.jsonl"
            forms[form].append(f"lmms-eval:{lines(path, rows)}")
    for domain in ("law", "history"):
        asked += [{"id": f"{domain}:{n}", "prompt": f"{domain} {prompt(n)}", "reference": "A"} for n in range(2)]
    options = Options("", questions=lines(tmp_path / "asked.jsonl", asked))
    found = audit(forms, options)
    assert found.facts["pairs"] == 4
    groups = [
        row["group"] for row in found.tables["gap"] if row["scorer"] == "multiple_choice" and row["form"] == "gap"
    ]
    assert groups == ["all", "history", "law"]


def test_groups_and_overall_are_given_where_there_are_several(tmp_path):
    rows = [
        {
            "id": f"{subset}{n}",
            "subset": subset,
            "skill": skill,
            "prompt": prompt(n),
            "reference": "A",
            "answer": answer,
        }
        for subset, answers in (("one", "AAAB"), ("two", "ABBB"))
        for n, (skill, answer) in enumerate(zip("xxyy", answers))
    ]
    text = lines(tmp_path / "text.jsonl", [row | {"answer": "A"} for row in rows])
    speech = lines(tmp_path / "speech.jsonl", rows)
    found = audit({"text": [str(text)], "speech": [str(speech)]}, Options("jsonl"))
    keys = {"form": "gap", "measure": "score"}
    assert value(found, subset="one", group="y", scorer="multiple_choice", **keys) == 50
    assert value(found, subset="two", group="all", scorer="multiple_choice", **keys) == 75
    assert value(found, subset="overall", group="all", scorer="ours", **keys) == 50


def test_our_own_answer_files_are_audited_with_their_questions(tmp_path):
    probabilities = {"letters": [-1.0, -2.0, -3.0, -4.0], "texts": [-1.0] * 4, "text_tokens": [1] * 4}
    header = {"schema": "answers/2", "n": 1, "provenance": {}}
    row = {"id": "obqa-0001", "form": "text", "answer": "B", "finish_reason": "length", "options": probabilities}
    path = lines(tmp_path / "text.00-of-01.answers.jsonl", [header, row])
    asked = {"id": "obqa-0001", "prompt": "Which?", "options": ["sand", "mud"], "reference": ["B"]}
    asked |= {"scorer": "multiple_choice"}
    source = lines(tmp_path / "questions.jsonl", [{"schema": "questions/1", "n": 1, "provenance": {}}, asked])
    found = audit({"text": [str(path)], "speech": [str(path)]}, Options("jsonl", questions=source))
    shares = {row["trait"]: row["share"] for row in found.tables["traits"] if row["form"] == "text"}
    assert shares["truncated"] == 1 and value(found, scorer="multiple_choice", form="gap", measure="score") == 0


def test_the_page_holds_everything_and_no_answer_becomes_html(tmp_path):
    evil = "<script>alert(1)</script> <img src=x onerror=y> The answer is A."
    forms = {"text": [many(tmp_path, "text", ["A"] * 4)], "speech": [many(tmp_path, "speech", [evil] * 3 + ["A"])]}
    found = audit(forms, Options("jsonl", official=write_checkout(tmp_path)))
    page = write_audit(found, tmp_path / "out").read_text()
    assert "<script" not in page and "<img" not in page and "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)\s*=\s*[\"']?http", page)
    for part in ("McNemar", "GAP by scorer", found.conclusions[0].verdict, "VoiceBench"):
        assert part in page
    for name, columns in TABLES.items():
        assert len(read_columns(tmp_path / "out" / f"{name}.csv", columns)) == len(found.tables[name])
    gap = read_columns(tmp_path / "out" / "gap.csv", TABLES["gap"])
    assert select(gap, scorer="multiple_choice", form="gap").value.item() == 0


PROBLEMS = {
    "two answers for one id": (["A", "B"], {"id": "same"}, "a second text answer to id 'same'"),
    "gold that does not parse": (["A"], {"reference": "(E)"}, "field 'reference'"),
    "gold of no known form": (["A"], {"reference": ["A", "B"]}, "field 'reference'"),
    "no reference": (["A"], {"reference": ""}, "field 'reference': missing"),
    "a scorer that does not exist": (["A"], {"scorer": "vibes"}, "field 'scorer': 'vibes' is unknown"),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_question_that_cannot_be_scored_is_named(tmp_path, problem):
    answers, extra, message = PROBLEMS[problem]
    forms = {form: [many(tmp_path, form, answers, **extra)] for form in ("text", "speech")}
    with pytest.raises(AuditError) as raised:
        audit(forms, Options("jsonl"))
    assert message in str(raised.value) and "line" in str(raised.value), str(raised.value)


def test_answers_of_another_subset_are_refused(tmp_path):
    text = lines(tmp_path / "m-openbookqa-test-text.jsonl", [{"prompt": "p", "reference": "A", "response": "A"}])
    speech = lines(tmp_path / "m-mmsu-law-audio.jsonl", [{"prompt": "q", "reference": "A", "response": "A"}])
    with pytest.raises(AuditError, match=r"no answer pairs.*openbookqa.*mmsu"):
        audit({"text": [str(text)], "speech": [str(speech)]}, Options("voicebench"))


def test_questions_of_another_set_under_the_same_ids_are_refused(tmp_path):
    text = many(tmp_path, "text", ["A"] * 3)
    rows = [{"id": f"q{n:03d}", "prompt": f"another {n}", "reference": "B", "answer": "B"} for n in range(3)]
    speech = lines(tmp_path / "speech.jsonl", rows)
    with pytest.raises(AuditError, match=r"no answer pairs.*another prompt"):
        audit({"text": [text], "speech": [str(speech)]}, Options("jsonl"))


def test_rows_in_the_same_order_are_joined_by_order_when_asked(tmp_path):
    rows = [{"prompt": "", "reference": gold, "answer": answer} for gold, answer in zip(GOLD, TEXT)]
    paths = {form: [str(lines(tmp_path / f"{form}.jsonl", rows))] for form in ("text", "speech")}
    with pytest.raises(AuditError, match="--join order"):
        audit(paths, Options("jsonl"))
    assert audit(paths, Options("jsonl", join="order")).facts["pairs"] == 6


def test_the_command_prints_the_verdict_and_one_message_for_bad_input(tmp_path, capsys):
    arguments = ["--text", many(tmp_path, "text", ["A"] * 4), "--speech", many(tmp_path, "speech", ["A"] * 4)]
    arguments += ["--harness", "jsonl", "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert "4 pairs, 0 answers without a partner" in capsys.readouterr().out
    arguments[1] = str(tmp_path / "missing.jsonl")
    assert main(arguments) == 2
    assert re.fullmatch(r"error: .*missing\.jsonl: not found\n", capsys.readouterr().err)


def test_an_audit_of_a_study_gives_what_the_command_gives(tmp_path):
    paths = {
        form: many(tmp_path, form, texts) for form, texts in (("text", ["A"] * 6), ("speech", ["A"] * 3 + ["B"] * 3))
    }
    settings = AuditSettings(harness="jsonl", text=[paths["text"]], speech=[paths["speech"]])
    (tmp_path / "punkt").mkdir()
    audit_answers(
        tmp_path / "study",
        tmp_path / "punkt" / "asset.json",
        settings=settings.model_dump(mode="json"),
        official=None,
        seed=3,
    )
    arguments = [
        "--text",
        paths["text"],
        "--speech",
        paths["speech"],
        "--harness",
        "jsonl",
        "--seed",
        "3",
    ]
    assert main([*arguments, "--out", str(tmp_path / "command")]) == 0
    for name in ("index.html", "gap.csv", "conclusions.csv"):
        assert (tmp_path / "study" / name).read_text() == (tmp_path / "command" / name).read_text()


def test_settings_name_the_harnesses_that_are_read():
    assert set(get_args(Harness)) == set(HARNESSES)
