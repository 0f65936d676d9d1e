"""Probes: a code that is planted in one or both forms is read there and nowhere else, and memory is no selectivity."""

import sys

import numpy as np
import pytest

from workflow_scripts.measures.probes import (
    EVERY_PAIR,
    SPEECH,
    TEXT,
    control_labels,
    plan_task,
    probe,
    question_folds,
    question_mean,
    renamed_p,
)

QUESTIONS, WORDS, CLASSES, WIDTH = 40, 3, 5, 24
ACROSS = [(TEXT, SPEECH), (SPEECH, TEXT)]


def occurrences(seed=0):
    """Question and word of each item."""
    rng = np.random.default_rng(seed)
    return np.repeat(np.arange(QUESTIONS), WORDS), rng.integers(0, CLASSES, QUESTIONS * WORDS)


def words_task(seed=0):
    questions, words = occurrences(seed)
    return plan_task(words, np.arange(len(words)), questions, folds=5, draws=3, seed=seed)


def states(labels, text=1.0, speech=1.0, rotated=False, seed=0):
    """Noise plus, by form, so many times the code of each item's label; speech stands elsewhere as a whole."""
    rng = np.random.default_rng([seed, 1])
    code = rng.normal(0, 2, (labels.max() + 1, WIDTH))
    turned, factor = np.linalg.qr(rng.normal(0, 1, (WIDTH, WIDTH)))
    turned = code @ (turned * np.sign(np.diag(factor))) if rotated else code
    noise = rng.normal(0, 1, (2, len(labels), WIDTH))
    return {TEXT: noise[0] + text * code[labels], SPEECH: 30 + noise[1] + speech * turned[labels]}


def selectivity(found, task, pair):
    own, control = (question_mean(one, task.questions) for one in (found[pair].own, found[pair].control))
    return own - control


def test_one_code_in_both_forms_is_read_in_both_and_across():
    task = words_task()
    found = probe(states(task.labels), task)
    assert set(found) == set(EVERY_PAIR)
    for pair, hits in found.items():
        assert hits.own.mean() > 0.95, pair
        low, high = selectivity(found, task, pair).interval
        assert low > 0.5 and hits.control.mean() < task.chance + 0.1
        assert low < hits.own.mean() - hits.control.mean() < high


def test_a_rotated_code_is_read_within_each_form_and_not_across():
    task = words_task()
    found = probe(states(task.labels, rotated=True), task)
    for pair, hits in found.items():
        if pair in ACROSS:
            assert abs(hits.own.mean() - 1 / CLASSES) < 0.2, pair
        else:
            assert hits.own.mean() > 0.95, pair


def test_a_code_in_one_form_only_is_read_there_only():
    task = words_task()
    found = probe(states(task.labels, speech=0.0), task)
    assert found[TEXT, TEXT].own.mean() > 0.95
    low, high = selectivity(found, task, (SPEECH, SPEECH)).interval
    assert low < 0 < high
    for pair in ACROSS:
        assert renamed_p(found[pair].told, task.labels, seed=0) > 0.05, pair


def test_p_is_uniform_for_unrelated_codes_and_small_for_a_common_one():
    """Unrelated codes agree in some classes by luck: intervals over questions leave out 0 too often, p does not."""
    shares = {True: [], False: []}
    sure = []
    for seed in range(60):
        task = words_task(seed)
        for rotated, found in shares.items():
            hits = probe(states(task.labels, rotated=rotated, seed=seed), task, [(TEXT, SPEECH)])
            found.append(renamed_p(hits[TEXT, SPEECH].told, task.labels, seed))
            sure += [selectivity(hits, task, (TEXT, SPEECH)).interval[0] > 0] * rotated
    assert np.mean(sure) > 0.05, "else no p would be needed: one in forty is what they say"
    assert np.mean(np.array(shares[True]) <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 60)
    assert max(shares[False]) < 0.02, "120 renamings of five classes"
    assert np.isnan(renamed_p(np.array([0, 1]), np.array([0, 1]), seed=0))


def test_states_without_labels_have_no_selectivity():
    """Over twenty made shards, the mean selectivity of every pair is 0 within its own spread."""
    by_pair = {pair: [] for pair in EVERY_PAIR}
    for seed in range(20):
        task = words_task(seed)
        found = probe(states(task.labels, text=0.0, speech=0.0, seed=seed), task)
        for pair in EVERY_PAIR:
            by_pair[pair].append(selectivity(found, task, pair).value)
    for pair, values in by_pair.items():
        assert abs(np.mean(values)) < 3 * np.std(values, ddof=1) / np.sqrt(len(values)), pair


def test_what_is_learnt_word_by_word_is_accurate_and_not_selective():
    """Each word has a random label, and states hold the word: the control task is as easy."""
    questions, words = occurrences()
    rng, accuracy, selective = np.random.default_rng(3), [], []
    for seed in range(10):
        labels = rng.permutation(np.arange(CLASSES) % 2)[words]
        task = plan_task(labels, words, questions, folds=5, draws=5, seed=seed)
        found = probe(states(words, seed=seed), task)
        accuracy.append(found[TEXT, SPEECH].own.mean())
        selective.append(selectivity(found, task, (TEXT, SPEECH)).value)
    assert np.mean(accuracy) > 0.95 and abs(np.mean(selective)) < 0.05


def test_shift_and_scale_of_a_form_and_constant_dimensions_change_nothing():
    task = words_task()
    one = states(task.labels, text=0.4, speech=0.4)
    other = {TEXT: one[TEXT] * np.linspace(1, 9, WIDTH) - 4, SPEECH: one[SPEECH]}
    other = {form: np.column_stack([values, np.full(len(values), 7.3)]) for form, values in other.items()}
    first, second = (probe(values, task) for values in (one, other))
    for pair in EVERY_PAIR:
        assert np.mean(first[pair].own == second[pair].own) > 0.97, "but for the penalty, which counts dimensions"


def test_a_pair_is_probed_as_beside_the_others():
    task = words_task()
    values = states(task.labels, text=0.5, speech=0.5)
    every, alone = probe(values, task), probe({SPEECH: values[SPEECH]}, task, [(SPEECH, SPEECH)])
    assert list(alone) == [(SPEECH, SPEECH)]
    np.testing.assert_array_equal(alone[SPEECH, SPEECH].own, every[SPEECH, SPEECH].own)
    np.testing.assert_array_equal(alone[SPEECH, SPEECH].control, every[SPEECH, SPEECH].control)


def test_folds_keep_questions_whole_and_are_even():
    questions = np.random.default_rng(0).integers(0, 23, 200) * 7
    folds = question_folds(questions, 5, seed=1)
    by_question = {question: set(folds[questions == question]) for question in set(questions)}
    assert all(len(found) == 1 for found in by_question.values())
    sizes = np.bincount([next(iter(found)) for found in by_question.values()])
    assert len(sizes) == 5 and np.ptp(sizes) <= 1
    np.testing.assert_array_equal(folds, question_folds(questions, 5, seed=1))
    assert (folds != question_folds(questions, 5, seed=2)).any()


def test_a_kind_has_one_control_label_drawn_as_often_as_the_labels():
    kinds = np.repeat(np.arange(400), 5)
    labels = (np.arange(2000) < 500).astype(int)
    drawn = control_labels(labels, kinds, draws=4, seed=1)
    assert drawn.shape == (4, 2000) and (np.ptp(drawn.reshape(4, 400, 5), axis=2) == 0).all()
    assert (drawn[0] != drawn[1]).any() and abs(drawn.mean() - 0.25) < 0.05


def test_a_class_that_only_the_asked_fold_has_is_told_wrong():
    task = plan_task(np.array([0, 0, 1]), np.arange(3), np.arange(3), folds=3, draws=1, seed=0)
    found = probe({TEXT: np.eye(3), SPEECH: np.eye(3)}, task)
    assert all(hits.own[2] == 0 for hits in found.values())


def test_items_of_a_question_go_together_in_the_interval():
    """The same items, once of many questions and once of few: fewer tell less."""
    hits = np.tile([1.0, 1.0, 1.0, 0.0, 0.0, 0.0], 20)
    apart, together = question_mean(hits, np.arange(120)), question_mean(hits, np.arange(120) // 3)
    assert apart.value == together.value == 0.5
    assert np.ptp(together.interval) > 1.5 * np.ptp(apart.interval)


def test_one_class_and_unequal_lengths_are_refused():
    numbers = {"folds": 2, "draws": 1, "seed": 0}
    with pytest.raises(ValueError, match="1 classes"):
        plan_task(np.zeros(4, int), np.arange(4), np.arange(4), **numbers)
    with pytest.raises(ValueError, match="3 kinds"):
        plan_task(np.arange(4), np.arange(3), np.arange(4), **numbers)


def test_without_scikit_learn_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(ImportError, match=r"pip install -r requirements\.txt.*probes: null"):
        probe(states(words_task().labels), words_task())
