"""From state files to probes.csv: a code planted from one layer on is read from there on; what is missing is said."""

from itertools import permutations

import numpy as np
import pytest

from tests.planted_states import rounded, write_planted
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.questions import QUESTIONS, Question
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.word_times import WORD_TIMES, TimedWord, WordTimes
from workflow_scripts.measures.probes import SPEECH, TEXT
from workflow_scripts.probes import items as items_module
from workflow_scripts.probes.join_probes import join_probes
from workflow_scripts.probes.probe_states import NOT_KEPT, probe_states

VOCABULARY = ("river", "water", "stone", "cloud", "seven", "Paris")
QUESTIONS_N, LAYERS, FROM, WIDTH, FRAMES, STEP = 30, 4, 2, 24, 3, 0.1
SPEAKERS = {"nq": {"voice": "heart", "recorded": "synthetic"}}
SETTINGS = {"words": 4, "folds": 3, "draws": 2}


def prompts(seed=0):
    """Different ones of three words each behind a first one, which no rule takes for a name."""
    every = list(permutations(VOCABULARY, 3))
    chosen = np.random.default_rng(seed).permutation(len(every))[:QUESTIONS_N]
    return [" ".join(["tell", *every[place]]) for place in chosen]


def write_subset(folder, subset="nq", rotated=False, untimed=(), offset=0.0, facts=None, words=None, clock=None):
    """State file, word times and questions of one subset; text tokens are characters, a word is `FRAMES` positions.

    From layer `FROM` on, states hold the word that is written or spoken; `offset` is added to all of speech there.
    clock: seconds of a steady speaker to those told; positions then have starts of their own.
    """
    rng = np.random.default_rng(len(subset) + rotated)
    code = dict(zip(VOCABULARY, np.random.default_rng(8).normal(0, 3, (len(VOCABULARY), WIDTH))))
    turn, factor = np.linalg.qr(np.random.default_rng(9).normal(0, 1, (WIDTH, WIDTH)))
    turn = turn * np.sign(np.diag(factor)) if rotated else np.eye(WIDTH)
    speech, text, times, asked = [], [], [], []
    telling = clock or float

    def told(place):
        """When a word begins."""
        return telling(FRAMES * place * STEP)

    for number, prompt in enumerate(prompts()):
        spans = [(prompt.index(word), prompt.index(word) + len(word)) for word in prompt.split()]
        lengths = {TEXT: len(prompt), SPEECH: FRAMES * len(spans)}
        states = {form: rng.normal(0, 1, (LAYERS, n, WIDTH)) for form, n in lengths.items()}
        for place, span in enumerate(spans):
            if (word := prompt[slice(*span)]) in code:
                states[TEXT][FROM:, slice(*span)] += code[word]
                states[SPEECH][FROM:, FRAMES * place : FRAMES * (place + 1)] += code[word] @ turn
        states[SPEECH][FROM:] += offset
        text.append(rounded(states[TEXT].astype(np.float32)))
        speech.append(rounded(states[SPEECH].astype(np.float32)))
        spoken = [
            TimedWord(
                text=prompt[slice(*span)],
                span=span,
                seconds=None if number in untimed else tuple(map(told, (place, place + 1))),
            )
            for place, span in enumerate(spans)
        ]
        times.append(WordTimes(id=f"q{number}", words=spoken))
        about = {"subset": subset, "spoken": prompt, "reference": [], "scorer": "short_answer", "source": {}}
        asked.append(Question(id=f"q{number}", prompt=prompt, **about))
    starts = [] if clock is None else [clock(np.arange(one.shape[1]) * STEP) for one in speech]
    for name in ("states", "times", "questions"):
        (folder / name / subset).mkdir(parents=True)
    WORD_TIMES.write(folder / "times" / subset / "word_times.jsonl", words or times, {})
    QUESTIONS.write(folder / "questions" / subset / "questions.jsonl", asked, {})
    path = folder / "states" / subset / "00-of-01.h5"
    return write_planted(path, speech, text, {"subset": subset} | (facts or {}), starts=starts)


def run(folder, speakers=SPEAKERS, **settings):
    """The table of all subsets that `write_subset` wrote."""
    probe_states(
        *(sorted((folder / name).rglob(f"*{kind}")) for name, kind in
          (("states", ".h5"), ("times", ".jsonl"), ("questions", ".jsonl"))),
        folder / "probes.csv",
        probes=SETTINGS | settings,
        speakers=speakers,
        seed=3,
    )  # fmt: skip
    return read_table(folder / "probes.csv", "probes")


def test_a_word_is_read_from_the_layer_on_that_holds_it_in_both_forms_and_across(tmp_path):
    write_subset(tmp_path)
    table = select(run(tmp_path), target="word")
    assert len(table) == 4 * LAYERS and set(table["n"]) == {QUESTIONS_N} and set(table["classes"]) == {4}
    for row in table.itertuples():
        assert row.chance < 0.4 and row.control < row.chance + 0.2
        if row.layer >= FROM:
            assert row.accuracy > 0.95 and row.selectivity_low > 0.3 and row.p < 0.1, row
        else:
            assert row.accuracy < 0.5 and row.selectivity_low < 0.1, row
        assert row.accuracy_low <= row.accuracy <= row.accuracy_high
        assert row.selectivity_low <= row.selectivity <= row.selectivity_high
    assert set(table["checkpoint"]) == {"step-000001"} and set(table["step"]) == {1} and set(table["skipped"]) == {0}


def test_with_another_code_in_speech_only_probes_of_the_same_form_read_it(tmp_path):
    write_subset(tmp_path, rotated=True)
    table = select(run(tmp_path, targets=["word"], layers=[3]), target="word")
    within = table["fitted"] == table["asked"]
    assert (table["accuracy"][within] > 0.95).all() and (table["accuracy"][~within] < 0.8).all()


def test_number_words_and_names_are_told_from_as_many_others(tmp_path):
    write_subset(tmp_path)
    table = run(tmp_path, targets=["number", "entity"], layers=[3])
    for target in ("number", "entity"):
        rows = select(table, target=target)
        assert len(rows) == 4 and set(rows["classes"]) == {2} and set(rows["chance"]) == {0.5}, target
        assert (rows["accuracy"] > 0.9).all() and rows["p"].isna().all()
        assert (rows["control"] > 0.6).all(), "few words: their labels can be learnt"


def test_the_same_run_gives_the_same_table_and_another_order_of_targets_too(tmp_path):
    write_subset(tmp_path)
    first = run(tmp_path, targets=["word", "number"], layers=[3])
    again = run(tmp_path, targets=["number", "word"], layers=[3])
    assert select(first, target="word").equals(select(again, target="word").set_axis(range(4)))


def test_voices_are_told_apart_only_where_several_speak_the_same_questions(tmp_path):
    write_subset(tmp_path)
    table = run(tmp_path, targets=["voice", "recorded"])
    assert table["n"].tolist() == [0, 0] and table["note"].tolist() == ["only voice heart", "synthetic voices only"]
    write_subset(tmp_path, "nq_other", offset=2.0)
    speakers = SPEAKERS | {"nq_other": {"voice": "person", "recorded": "recorded"}}
    table = run(tmp_path, speakers, targets=["voice", "recorded", "word"], layers=[0, 3])
    for target in ("voice", "recorded"):
        rows = select(table, target=target)
        assert rows["fitted"].tolist() == rows["asked"].tolist() == [SPEECH] * 2
        assert set(rows["n"]) == {QUESTIONS_N} and set(rows["items"]) == {2 * QUESTIONS_N}
        assert rows["accuracy"].iloc[0] < 0.75 < 0.95 < rows["accuracy"].iloc[1]
    assert set(select(table, target="word")["n"]) == {QUESTIONS_N}, "a prompt in two voices is one question"


def test_targets_that_cannot_be_probed_and_layers_that_are_not_kept_have_a_row_that_says_so(tmp_path):
    write_subset(tmp_path)
    table = run(tmp_path, targets=["word", "entity"], layers=[1, 7], occurrences=31)
    targets, layers = table[table["target"] != ""], table[table["target"] == ""]
    assert set(targets["note"]) == {"0 of two classes in 31 different questions"} and set(targets["n"]) == {0}
    assert layers["layer"].tolist() == [7] and layers["note"].tolist() == [NOT_KEPT] and layers["n"].tolist() == [0]


def test_words_without_states_are_left_out_of_both_forms_and_counted(tmp_path):
    write_subset(tmp_path, untimed=(0, 1))
    table = run(tmp_path, targets=["word"], layers=[3])
    assert set(table["skipped"]) == {8} and set(table["note"]) == {f"{items_module.NO_TIME}: 8"}
    assert set(table["n"]) == {QUESTIONS_N - 2}


def test_words_are_found_at_positions_of_unequal_length_where_the_model_gives_their_starts(tmp_path):
    write_subset(tmp_path / "even")
    write_subset(tmp_path / "uneven", clock=lambda seconds: seconds**2 / 2)
    even, uneven = (run(tmp_path / name, targets=["word"], layers=[3]) for name in ("even", "uneven"))
    assert even["n"].iloc[0] == uneven["n"].iloc[0] > 0
    assert even["accuracy"].tolist() == uneven["accuracy"].tolist()


def test_words_of_another_prompt_are_refused_with_the_file_that_holds_them(tmp_path):
    wrong = [
        WordTimes(id=f"q{number}", words=[TimedWord(text="other", span=(0, 5), seconds=None)])
        for number in range(QUESTIONS_N)
    ]
    write_subset(tmp_path, words=wrong)
    with pytest.raises(ArtifactError, match=r"word_times\.jsonl: question 'q0' has the word 'other'"):
        run(tmp_path)


def test_word_times_that_lack_a_question_are_refused(tmp_path):
    write_subset(tmp_path, words=[WordTimes(id="q0", words=[])])
    with pytest.raises(ArtifactError, match=r"word_times\.jsonl: no words of question 'q1'"):
        run(tmp_path)


def test_tables_of_runs_are_joined_in_order(tmp_path):
    write_subset(tmp_path)
    run(tmp_path, targets=["word"], layers=[3])
    join_probes([tmp_path / "probes.csv"] * 2, tmp_path / "all.csv")
    one, both = (read_table(tmp_path / name, "probes") for name in ("probes.csv", "all.csv"))
    assert len(both) == 2 * len(one) and both.iloc[: len(one)].equals(one)
