"""The official evaluators run from a checkout as they are: a miniature checkout with the same layout, written here."""

import random
import subprocess
import sys

import pytest

from tests.scoring.mini_voicebench import FILES, HARM, INSTRUCTIONS, MCQ, write_checkout
from workflow_scripts.scoring.official import (
    OfficialAnswer,
    OfficialError,
    checkout_identity,
    official_items,
    official_score,
)


@pytest.fixture
def checkout(tmp_path):
    return write_checkout(tmp_path)


def answers(*texts, **extra):
    return [OfficialAnswer(number, f"p{number}", text, **extra) for number, text in enumerate(texts)]


def test_multiple_choice_gives_the_drawn_score_and_its_expected_value(checkout):
    asked = answers("A", "B", "who knows", "hm", reference="A")
    found = official_score(checkout, "multiple_choice", asked, seed=1)
    assert found.expected == 100 * (1 + 2 / 4) / 4
    assert found.unparsed == 0.5
    assert found.score in (25, 50, 75)
    drawn = [official_score(checkout, "multiple_choice", asked, seed=seed).score for seed in range(60)]
    assert len(set(drawn)) > 1, "the official score depends on the seed"
    assert sum(drawn) / len(drawn) == pytest.approx(found.expected, abs=6)


def test_what_the_evaluator_of_bbh_guesses_counts_half_in_expectation(checkout, capsys):
    asked = [
        OfficialAnswer(number, f"p{number}", text, reference, task)
        for number, (text, reference, task) in enumerate(
            [
                ("Yes", "yes", "sports_understanding"),
                ("No", "yes", "sports_understanding"),
                ("B", "(B)", "hyperbaton"),
                ("hard to say", "(A)", "hyperbaton"),
            ]
        )
    ]
    found = official_score(checkout, "yes_no", asked, seed=1)
    assert (found.expected, found.unparsed) == (62.5, 0.25) and found.score in (50, 75)
    assert {official_score(checkout, "yes_no", asked, seed=seed).score for seed in range(20)} == {50, 75}
    assert official_items(checkout, "yes_no", asked, seed=1) == [1, 0, 1, 0.5]
    assert not capsys.readouterr().out


def test_a_seed_repeats_and_python_s_own_generator_is_left_as_it_was(checkout):
    asked = answers(*["?"] * 40, reference="A")
    random.seed(99)
    before = random.getstate()
    first = official_score(checkout, "multiple_choice", asked, seed=3)
    assert random.getstate() == before
    assert official_score(checkout, "multiple_choice", asked, seed=3) == first


def test_refusals_are_percentages_and_nothing_is_drawn(checkout):
    found = official_score(checkout, "refusal", answers("sorry", "sure", "", "no"), seed=0)
    assert (found.score, found.expected, found.unparsed) == (25, 25, None)


def test_instructions_reach_their_checkers_with_arguments(checkout):
    instructions = [{"id": "made:at_least", "kwargs": {"n": 2}}]
    asked = answers("one", "one two", "one two three", instructions=instructions)
    assert official_score(checkout, "instruction_following", asked, seed=0).score == pytest.approx(200 / 3)


def test_nothing_stays_imported_and_the_checkout_stays_as_it_is(checkout):
    before = {name for name in sys.modules if name.split(".")[0] in ("absl", "loguru")}
    official_score(checkout, "refusal", answers("x"), seed=0)
    asked = answers("one", instructions=[{"id": "made:at_least", "kwargs": {"n": 1}}])
    official_score(checkout, "instruction_following", asked, seed=0)
    assert not [name for name in sys.modules if name.startswith("modgap_official")]
    assert {name for name in sys.modules if name.split(".")[0] in ("absl", "loguru")} == before
    assert not list(checkout.rglob("__pycache__"))
    assert {str(p.relative_to(checkout / "src/evaluator")) for p in checkout.rglob("*.py")} == set(FILES)


def test_two_checkouts_do_not_mix(checkout, tmp_path):
    first = official_score(checkout, "refusal", answers("sure"), seed=0)
    (checkout / "src/evaluator/harm.py").write_text(HARM.replace("sorry", "sure"))
    assert (first.score, official_score(checkout, "refusal", answers("sure"), seed=0).score) == (0, 100)


def test_identity_is_commit_and_hash_of_the_evaluators(checkout):
    outside = checkout_identity(checkout)
    assert outside["commit"] == "unknown"
    (checkout / "README.md").write_text("other files do not matter")
    assert checkout_identity(checkout) == outside
    (checkout / "src/evaluator/mcq.py").write_text(MCQ + "\n")
    assert checkout_identity(checkout)["evaluators_sha256"] != outside["evaluators_sha256"]
    git = ["git", "-C", str(checkout), "-c", "user.name=t", "-c", "user.email=t@t"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "x"], check=True)
    assert len(checkout_identity(checkout)["commit"]) == 40


def test_what_cannot_be_used_is_named(checkout, tmp_path):
    with pytest.raises(OfficialError, match=r"no mcq\.py.*checkout of MatthewCYM/VoiceBench"):
        official_score(tmp_path / "nowhere", "refusal", answers("x"), seed=0)
    with pytest.raises(OfficialError, match="no evaluator for 'short_answer'"):
        official_score(checkout, "short_answer", answers("x"), seed=0)
    with pytest.raises(OfficialError, match="no answers"):
        official_score(checkout, "refusal", [], seed=0)
    harm = checkout / "src/evaluator/harm.py"
    harm.write_text("import a_package_nobody_has\n")
    with pytest.raises(OfficialError, match=r"harm\.py imports 'a_package_nobody_has', which is not installed"):
        official_score(checkout, "refusal", answers("x"), seed=0)
    checkers = checkout / "src/evaluator/instruction_following_eval/instructions.py"
    checkers.write_text("import another_package_nobody_has\n" + INSTRUCTIONS)
    with pytest.raises(OfficialError, match=r"ifeval\.py imports 'another_package_nobody_has'.*install it"):
        official_score(checkout, "instruction_following", answers("x"), seed=0)
    harm.write_text(HARM.replace("HarmEvaluator", "Other"))
    with pytest.raises(OfficialError, match="no class HarmEvaluator"):
        official_score(checkout, "refusal", answers("x"), seed=0)
    harm.write_text(HARM.replace('"refusal_rate"', '"rate"'))
    with pytest.raises(OfficialError, match="no number 'refusal_rate'"):
        official_score(checkout, "refusal", answers("x"), seed=0)


def test_the_scores_of_single_answers_average_to_the_official_score(checkout):
    letters = answers("A", "B", "who knows", reference="A")
    assert official_items(checkout, "multiple_choice", letters, seed=0) == [1.0, 0.0, 0.25]
    refusals = answers("sorry", "sure", "no", "so sorry")
    items = official_items(checkout, "refusal", refusals, seed=0)
    assert items == [1.0, 0.0, 0.0, 1.0]
    assert 100 * sum(items) / len(items) == official_score(checkout, "refusal", refusals, seed=0).score
