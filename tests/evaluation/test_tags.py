"""Kinds of questions: what each rule takes, a gap planted in one kind, nothing found where tags are random."""

import numpy as np
import pytest

from tests.evaluation.score_files import write
from tests.evaluation.test_answer_questions import QUESTION
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES, Utterance
from workflow_scripts.evaluation.build_tag_table import build_tag_table
from workflow_scripts.measures.question_tags import all_tags, in_order, names, speech_tags, word_tags
from workflow_scripts.statistics.by_tag import tag_rows
from workflow_scripts.statistics.means import POINTS


def question(prompt, number=0, **changes):
    return QUESTION.model_copy(update={"id": f"a{number}", "subset": "a", "prompt": prompt, "spoken": prompt} | changes)


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Which of these is not a fruit?", ["negation"]),
        ("Why can't birds fly there?", ["negation"]),
        ("Name a knot that is noted.", []),
        ("Which one is it?", []),
        ("Write exactly two lines.", ["number"]),
        ("Who won in 1987?", ["number"]),
        ("Did Marie Curie meet Albert Einstein?", ["several entities"]),
        ("Marie met Albert Einstein.", []),
        ("When did Marie Curie die, and where is Marie Curie buried?", []),
        ("What is it?\nA. Tundra\nB. Taiga", []),
        ("No, I and you never saw Paris or Rome 3 times.", ["negation", "number", "several entities"]),
        ("who wrote the treaty of paris and rome", []),
        ("Where should it be if I'm in Paris and I've no time?", ["negation"]),
        ("Was Einstein's wife older than Einstein?", []),
        ("Did Ángela meet Öykü?", ["several entities"]),
    ],
)
def test_words_decide_by_the_stated_rules(prompt, expected):
    assert word_tags(question(prompt)) == expected


def test_a_number_may_stand_in_digits_or_be_spoken():
    assert word_tags(question("in 12 days", spoken="in a dozen days")) == ["number"]
    assert word_tags(question("in XII days", spoken="in twelve days")) == ["number"]


def test_names_are_runs_of_capitalised_words_within_sentences():
    text = "The Old Bridge is in New York. Paris is not, says O'Neill of France."
    assert names(text) == {"Old Bridge", "New York", "O'Neill", "France"}


def utterance(name, seconds, wer=0.0, kept=True):
    facts = {"audio": None, "sha256": None, "sample_rate": 16000, "attempts": 1}
    return Utterance(id=name, seconds=seconds, wer=wer, kept=kept, **facts)


def test_speech_is_cut_into_thirds_and_its_transcript_into_bins():
    wers = [0.0, 0.1, 0.11, None, 0.05, 2.0]
    spoken = [utterance(f"a{k}", 1.0 + k, wer) for k, wer in enumerate(wers)]
    found = speech_tags([*spoken, utterance("dropped", 99.0, kept=False)])
    assert [found[f"a{k}"][0].split()[0] for k in range(6)] == ["short", "short", "middle", "middle", "long", "long"]
    bins = [["WER 0"], ["WER up to 0.1"], ["WER above 0.1"], [], ["WER up to 0.1"], ["WER above 0.1"]]
    assert [found[f"a{k}"][1:] for k in range(6)] == bins and "dropped" not in found
    assert {tags[0] for tags in speech_tags([utterance(f"b{k}", 2.0) for k in range(9)]).values()} == {"middle speech"}


def test_tags_stand_in_a_fixed_order_with_skills_last():
    asked = [question("not two", 0, source={"skill": "law"}), question("a", 1, source={"skill": "arts"})]
    tags = all_tags(asked, [utterance("a0", 1.0), utterance("a1", 3.0, 0.3), utterance("b0", 2.0)])
    assert in_order(tags.values()) == [
        *("negation", "number", "short speech", "long speech", "WER 0", "WER above 0.1"),
        *("skill: arts", "skill: law"),
    ]


N = 60


def build(tmp_path, speech, nll=None):
    """Every third question of `N` is negated, every fourth has a number; text is always right at one nat."""
    asked = [question(" ".join(["it is", "not" * (k % 3 == 0), "two" * (k % 4 == 0)]), k, source={}) for k in range(N)]
    QUESTIONS.write(tmp_path / "questions.jsonl", asked, {})
    UTTERANCES.write(tmp_path / "manifest.jsonl", [utterance(f"a{k}", 1.0 + k % 7) for k in range(N)], {})
    costs = {"text": [(2.0, 2)] * N, "speech": nll} if nll else {}
    scores = [write(tmp_path, "a", "text", [1.0] * N, nll=costs.get("text"))]
    scores.append(write(tmp_path, "a", "speech", speech, nll=costs.get("speech")))
    files = [tmp_path / "questions.jsonl"], [tmp_path / "manifest.jsonl"], scores
    build_tag_table(*files, tmp_path / "tags.csv", seed=0)
    return read_table(tmp_path / "tags.csv", "tags")


def test_a_gap_in_negated_questions_only_is_found_there_and_nowhere_else(tmp_path):
    negated = np.arange(N) % 3 == 0
    nll = [(2.0 + 4.0 * hurt + 0.1 * (k % 5), 2) for k, hurt in enumerate(negated)]
    table = build(tmp_path, [1.0 - hurt for hurt in negated], nll)
    for measure, gap in (("score", 100), ("loss", 2.0 + 0.1)):
        rows = select(table, measure=measure).set_index("tag")
        assert (rows["n"] + rows["n_rest"] == N).all() and rows.loc["negation", "n"] == 20
        row = rows.loc["negation"]
        assert row["value"] == pytest.approx(gap, rel=0.01) and row["low"] < row["value"] <= row["high"]
        assert row["difference"] == pytest.approx(row["value"] - row["rest"]) and row["difference_low"] > 0
        assert row["p"] == pytest.approx(1 / 2000) and row["p_holm"] < 0.01
        others = rows.drop("negation")
        assert (others["p_holm"].dropna() > 0.05).all()
        assert ((others["difference_low"] < 0) & (others["difference_high"] > 0))[others["difference"].notna()].all()
    assert list(rows.index[:5]) == ["negation", "number", "short speech", "middle speech", "long speech"]
    everywhere = rows.loc["WER 0"]
    assert (everywhere["n"], everywhere["n_rest"]) == (N, 0)
    assert everywhere[["rest", "difference", "p", "p_holm"]].isna().all(), "nothing to compare with"


def test_a_rare_tag_has_its_gap_and_no_test():
    tags = [["negation"] if k < 4 else ["number"] * (k < 12) for k in range(40)]
    gaps = np.where(np.arange(40) < 4, 100.0, 0.0)
    rare, tested = tag_rows(gaps, POINTS, tags, seed=0)
    assert (rare["tag"], rare["n"], rare["value"], rare["n_rest"]) == ("negation", 4, 100.0, 36)
    assert not {"p", "p_holm", "difference"} & set(rare)
    assert tested["p"] == tested["p_holm"], "what was not tested does not count in Holm's correction"


def test_random_tags_are_called_different_as_rarely_as_stated(monkeypatch):
    """Family-wise, over six tags of a study: below 5 % but for chance."""
    monkeypatch.setattr("workflow_scripts.statistics.by_tag.DRAWS", 199)
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels' Holm does so, which takes longer than all the rest
    called = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        gaps = rng.choice([-100.0, 0.0, 100.0], 80, p=[0.1, 0.6, 0.3])
        tags = [[f"skill: {k}" for k in range(6) if rng.random() < 0.3] for _ in range(80)]
        called += any(row.get("p_holm", 1.0) <= 0.05 for row in tag_rows(gaps, POINTS, tags, seed))
    assert called <= 6  # 40 * 0.05 = 2, of which chance makes more than 6 in 0.3 % of trials


def test_a_subset_that_was_not_spoken_to_the_model_has_no_rows(tmp_path):
    QUESTIONS.write(tmp_path / "questions.jsonl", [question("not", k) for k in range(4)], {})
    UTTERANCES.write(tmp_path / "manifest.jsonl", [utterance(f"a{k}", 1.0) for k in range(4)], {})
    files = [tmp_path / "questions.jsonl"], [tmp_path / "manifest.jsonl"], [write(tmp_path, "a", "text", [1.0] * 4)]
    build_tag_table(*files, tmp_path / "tags.csv", seed=0)
    assert read_table(tmp_path / "tags.csv", "tags").empty
