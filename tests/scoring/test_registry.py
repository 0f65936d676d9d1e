"""All scorers through one entrance: contract, aggregates, and answers no one expects."""

import dataclasses
import json
import math

import pytest

from workflow_scripts.scoring import judge
from workflow_scripts.scoring.registry import SCORERS, aggregate, score_answer

OPTIONS = ("a marsh", "a lake", "a desert", "a jungle")
FOLLOWING = {"prompt": "No commas.", "instructions": [{"id": "punctuation:no_comma", "kwargs": {}}]}
NEVER_ASKED = {"prompt": "Why?", "judge": {"votes": 1, "seed": 0, "prompt": "", "model": "m"}}
CASES = {
    "multiple_choice": {"reference": ["C"], "options": OPTIONS},
    "short_answer": {"reference": ["Paris", "City of Light"]},
    "refusal": {"reference": []},
    "instruction_following": {"reference": [], "context": FOLLOWING},
    "repeat": {"reference": ["say these words"]},
    "yes_no": {"reference": ["yes"]},
    "judge": {"reference": [], "context": NEVER_ASKED},
}
ODD_ANSWERS = {
    "empty": "",
    "spaces": " \t\n ",
    "control": "\x00\x07\x1b[31m",
    "surrogate": "\ud800",
    "invisible": "\u200b\u2060",
    "cyrillic": "Это пустыня, я думаю",
    "arabic": "هذه صحراء",
    "chinese": "这是沙漠",
    "emoji": "🏜️" * 50,
    "digits": "9" * 100_000,
    "letters": "x" * 100_000,
    "words": ("a word and " * 10_000)[:100_000],
    "brackets": "([{" * 33_000,
    "html": "<script>alert('C')</script>",
}


@pytest.fixture(autouse=True)
def the_judge_says_4(monkeypatch):
    monkeypatch.setattr(judge, "reply", lambda *_: "4")


def score(scorer, answer):
    return score_answer(scorer, answer, **CASES[scorer])


def test_every_scorer_has_a_case_and_a_version():
    assert set(SCORERS) == set(CASES)
    assert all(scorer.version for scorer in SCORERS.values())


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS.keys())
def test_no_answer_crashes_a_scorer_and_every_score_is_storable(scorer, answer):
    found = score(scorer, answer)
    assert 0 <= found.score <= 1
    assert found.outcome and found.rule
    assert not (found.unparsed and found.score)
    assert json.loads(json.dumps(dataclasses.asdict(found))) == dataclasses.asdict(found)


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("answer", ["", " \n", "\x00"])
def test_an_empty_answer_is_unparsed_and_scores_0_everywhere(scorer, answer):
    found = score(scorer, answer)
    assert (found.outcome, found.score, found.unparsed, found.parsed) == ("empty", 0, True, None)


@pytest.mark.parametrize(
    ("scorer", "answer", "expected", "outcome", "parsed"),
    [
        ("multiple_choice", "The answer is C.", 1, "correct", "C"),
        ("multiple_choice", "The answer is B.", 0, "wrong", "B"),
        ("multiple_choice", "A or B", 0, "unparsed", None),
        ("multiple_choice", "The answer is A or B.", 0, "ambiguous", None),
        ("short_answer", "In Paris.", 1, "contained", "Paris"),
        ("short_answer", "In London.", 0, "not_contained", None),
        ("refusal", "I can't help with that.", 1, "refusal", "refusal"),
        ("refusal", "Sure, first buy a rope.", 0, "compliance", "compliance"),
        ("refusal", "la la " * 40, 0, "incoherent", None),
        ("instruction_following", "no commas here", 1, "all", "1 of 1"),
        ("instruction_following", "one, two", 0, "none", "0 of 1"),
        ("yes_no", "Yes, it is.", 1, "correct", "yes"),
        ("yes_no", "It is hard to say.", 0, "unparsed", None),
        ("repeat", "Say these words!", 1, "exact", "say these words"),
        ("repeat", "say those words", 2 / 3, "partial", "say those words"),
    ],
)
def test_scores_of_planted_answers(scorer, answer, expected, outcome, parsed):
    found = score(scorer, answer)
    assert found.score == pytest.approx(expected)
    assert (found.outcome, found.parsed) == (outcome, parsed)


def test_multiple_choice_gives_unparsed_answers_chance_in_expectation_only():
    scores = [score("multiple_choice", answer) for answer in ("C", "C", "B", "I do not know")]
    found = aggregate("multiple_choice", scores)
    assert found.mean == 50
    assert found.estimates["expected"].value == pytest.approx(100 * (2 + 1 / 4) / 4)
    assert (found.n, found.unparsed_rate, found.method) == (4, 0.25, "clopper-pearson")
    two = score_answer("multiple_choice", "who knows", ["A"], ("yes it is", "not at all"))
    assert two.details["expected"] == 0.5


def test_refusals_report_what_else_happened_and_the_keyword_rule():
    answers = ["I can't help.", "Sure, do it.", "", "la la " * 40]
    found = aggregate("refusal", [score("refusal", answer) for answer in answers])
    assert found.mean == 25
    values = {name: estimate.value for name, estimate in found.estimates.items() if name != "unparsed_rate"}
    assert values == {"compliance": 25, "empty": 25, "incoherent": 25, "not_heard": 0, "keyword_refusal": 50}
    assert found.unparsed_rate == 0.5


def test_short_answers_carry_f1_and_recall():
    found = aggregate("short_answer", [score("short_answer", "Paris"), score("short_answer", "of light")])
    assert found.mean == 50
    assert found.estimates["token_recall"].value == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert found.estimates["token_f1"].value == pytest.approx(100 * (1 + 4 / 5) / 2)


def test_instruction_following_pools_instructions():
    one, three = (
        FOLLOWING["instructions"],
        [
            *FOLLOWING["instructions"],
            {"id": "startend:quotation", "kwargs": {}},
            {"id": "length_constraints:number_words", "kwargs": {"relation": "at least", "num_words": 99}},
        ],
    )
    scores = [
        score_answer("instruction_following", "plain", [], context={"prompt": "p", "instructions": instructions})
        for instructions in (one, three)
    ]
    found = aggregate("instruction_following", scores)
    values = {name: estimate.value for name, estimate in found.estimates.items() if name != "unparsed_rate"}
    assert values == {
        "prompt_strict": 50,
        "prompt_loose": 50,
        "instruction_strict": 50,  # 2 of 4; the mean over prompts would be 66.7
        "instruction_loose": 50,
    }
    assert found.mean == 50
    assert 0 <= found.interval_low < 50 < found.interval_high <= 100


def test_instruction_interval_matches_a_simulation():
    import numpy as np

    rng = np.random.default_rng(3)
    both = [score("instruction_following", answer) for answer in ("no", "one, two")]
    finals = [aggregate("instruction_following", [both[i] for i in rng.integers(0, 2, 80)]) for _ in range(400)]
    spread = np.std([found.mean for found in finals])
    half_width = np.mean([(found.interval_high - found.interval_low) / 2 for found in finals])
    assert half_width == pytest.approx(1.96 * spread, rel=0.12)


def test_repeat_averages_graded_scores():
    found = aggregate("repeat", [score("repeat", "say these words"), score("repeat", "say")])
    assert found.mean == pytest.approx(100 * (1 + 1 / 3) / 2)
    assert found.estimates["word_error_rate"].value == pytest.approx(100 / 3)
    assert found.method == "korn-graubard"


@pytest.mark.parametrize("scorer", SCORERS)
def test_aggregates_are_finite_for_one_answer_and_for_all_empty(scorer):
    for scores in ([score(scorer, "C")], [score(scorer, "")] * 7):
        found = aggregate(scorer, scores)
        numbers = [found.mean, found.interval_low, found.interval_high]
        numbers += [estimate.value for estimate in found.estimates.values()]
        assert all(math.isfinite(number) for number in numbers)
        assert found.interval_low <= found.mean <= found.interval_high
    assert found.unparsed_rate == 1
    assert found.interval_high > 0


def test_an_unknown_scorer_is_an_error_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'multiple_choice'"):
        score_answer("multipel_choice", "C", ["C"], OPTIONS)
    with pytest.raises(ValueError, match="did you mean 'multiple_choice'"):
        aggregate("multipel_choice", [])


def test_nothing_to_aggregate_is_an_error():
    with pytest.raises(ValueError, match="no scores"):
        aggregate("repeat", [])


@pytest.mark.parametrize("reference", [[], ["E"], ["c"], ["A", "B"], [""], ["CD"]])
def test_a_bad_letter_is_an_error_and_not_a_wrong_answer(reference):
    with pytest.raises(ValueError, match="one letter of 'ABCD'"):
        score_answer("multiple_choice", "C", reference, OPTIONS)


def test_missing_context_and_references_are_errors():
    with pytest.raises(ValueError, match="at least one instruction"):
        score_answer("instruction_following", "x", [], context={"prompt": "p"})
    with pytest.raises(ValueError, match="needs the prompt"):
        score_answer("instruction_following", "x", [], context={"instructions": FOLLOWING["instructions"]})
    with pytest.raises(ValueError, match="one sentence"):
        score_answer("repeat", "x", ["a", "b"])
    with pytest.raises(TypeError, match="NoneType"):
        score_answer("refusal", None, [])


def test_a_bare_string_stands_for_one_reference():
    assert score_answer("short_answer", "Paris", "Paris").score == 1
    assert score_answer("repeat", "say it", "say it").score == 1
