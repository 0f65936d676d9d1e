"""The performance programs compare like with like, and say so when a goal is missed."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import activations, evaluation, harness, measures, transcription, word_times
from benchmarks.synthetic import draw_lengths, write_state_file
from benchmarks.workload import products
from tests.tiny_study import write_tiny_study
from workflow_scripts.artifacts.states import StateReader
from workflow_scripts.speech_lm.shard_queries import read_spoken_shard

torch.set_num_threads(1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def workload(tmp_path_factory):
    study = write_tiny_study(tmp_path_factory.mktemp("study"), n=7)
    asked = read_spoken_shard(study.questions, study.manifest, study.features, "00-of-01", 7)
    return activations.Workload(study.load(), asked, tmp_path_factory.mktemp("states"))


def test_paired_reverses_the_order_every_other_round_and_prepares_each_run():
    calls = []
    seconds = harness.paired(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, before=lambda: calls.append(".")
    )
    assert "".join(calls) == ".a.b.b.a.a.b"
    assert [len(values) for values in seconds.values()] == [3, 3]
    with pytest.raises(ValueError, match="repeats is 0"):
        harness.paired({}, 0)


def test_speed_ratio_is_the_median_of_the_rounds_ratios():
    assert harness.speed_ratio([1.0, 2.0, 10.0], [8.0, 18.0, 10.0]) == 8.0
    with pytest.raises(ValueError):
        harness.speed_ratio([1.0], [1.0, 2.0])


def test_a_missed_goal_is_printed_and_is_the_exit_status(capsys):
    met, missed = harness.Ratio("fast", 9.876, 8), harness.Ratio("slow", 0.5, 0.8)
    assert harness.verdict([met]) == 0
    assert harness.verdict([met, missed]) == 1
    printed = capsys.readouterr().out.splitlines()
    assert "RATIO fast 9.88 goal 8" in printed and "RATIO slow 0.5 goal 0.8" in printed
    assert printed[-1] == "missed: slow"
    assert not harness.Ratio("undefined", float("nan"), 0.0).met


def test_tables_are_aligned_markdown():
    lines = harness.table(["arm", "seconds"], [["ours", 1.23456], ["the loop", 12345.6]]).splitlines()
    assert lines[2:] == ["| ours     | 1.23    |", "| the loop | 12346   |"]
    assert len({len(line) for line in lines}) == 1


def test_the_loop_gets_questions_of_all_lengths():
    lengths = [50, 10, 40, 20, 30, 60, 80, 70]
    assert evaluation.asked_by_loop(lengths, 1) == list(range(8))
    assert sorted(lengths[index] for index in evaluation.asked_by_loop(lengths, 4)) == [30, 70]


def test_answers_are_compared_by_id_and_none_may_be_missing():
    ours = {"a": [1, 2], "b": [3], "c": []}
    assert harness.differing(ours, {"a": [1, 2], "b": [4]}) == (2, 1)
    with pytest.raises(ValueError, match=r"\['d'\]"):
        harness.differing(ours, {"d": []})


@pytest.mark.parametrize("form", evaluation.FORMS)
def test_batched_answers_equal_those_of_the_loop(workload, form):
    encoders = evaluation.encoders_of(workload.lm, workload.asked.questions, workload.asked.source, form)
    ours = evaluation.answer_batched(workload.lm, encoders, 12)
    assert ours == evaluation.answer_loop(workload.lm, encoders, 12)
    assert len({tuple(ids) for ids in ours}) > 1  # the answers depend on the questions


def test_the_limit_counts_the_products_that_a_pass_makes(workload):
    model, n = workload.lm.model, 5
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(torch.arange(n)[None])
    made = counter.get_flop_counts()["Global"]
    assert products(model, 0, n) == sum(made.get(kind, 0) for kind in (torch.ops.aten.mm, torch.ops.aten.addmm))
    assert products(model, n, n) > 1.2 * products(model, 0, n)


def test_the_loops_answers_end_before_the_stop_token(workload, monkeypatch):
    encoders = evaluation.encoders_of(workload.lm, workload.asked.questions, workload.asked.source, "text")
    answers = evaluation.answer_loop(workload.lm, encoders, 8)
    longest = max(range(len(answers)), key=lambda index: len(answers[index]))
    stop = answers[longest][-1]
    monkeypatch.setattr(type(workload.lm), "stop_ids", frozenset({stop}))
    expected = answers[longest][: answers[longest].index(stop)]
    assert len(expected) > 1
    assert evaluation.answer_loop(workload.lm, encoders, 8)[longest] == expected
    assert evaluation.answer_batched(workload.lm, encoders, 8)[longest] == expected


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    return write_state_file(tmp_path_factory.mktemp("synthetic") / "states.h5", n=6, depth=3, width=48, seed=3)


@pytest.mark.parametrize("draws", [1, 20])
def test_our_measures_equal_the_transcription(states, draws):
    mine, theirs = (arm(states, draws, 5) for arm in (measures.ours, measures.transcribed))
    assert set(theirs) == set(transcription.HIGHER_IS_BETTER)
    assert measures.largest_difference(mine, theirs) < measures.TOLERANCE


def test_a_wrong_or_missing_number_is_a_difference(states):
    theirs = measures.transcribed(states, 2, 5)
    changed = {name: {part: values.copy() for part, values in parts.items()} for name, parts in theirs.items()}
    changed["consistency"]["null_mean"][2, 1] += 0.25
    assert measures.largest_difference(changed, theirs) == pytest.approx(0.25)
    changed["consistency"]["null_mean"][2, 1] = np.nan
    assert measures.largest_difference(changed, theirs) == float("inf")


def test_without_derangements_the_raw_values_stay_and_the_null_is_gone(states):
    with_null = measures.ours(states, 3, 5)
    raw = measures.ours(states, 0, 5)
    for name in transcription.HIGHER_IS_BETTER:
        np.testing.assert_allclose(raw[name]["raw"], with_null[name]["raw"], rtol=1e-6, atol=1e-9)
        assert np.isnan(raw[name]["null_mean"]).all() and not np.isnan(with_null[name]["null_mean"]).all()


def test_spearman_of_the_transcription_averages_ties():
    assert transcription.average_ranks(np.array([3, 1, 3, 2])).tolist() == [3.5, 1, 3.5, 2]
    assert transcription.spearman(np.arange(5), np.array([0, 2, 4, 6, 8])) == pytest.approx(1)
    assert np.isnan(transcription.spearman(np.arange(5), np.ones(5)))
    assert np.isnan(transcription.spearman(np.arange(3), np.arange(3)))


def test_synthetic_states_have_the_announced_lengths_and_a_path(states):
    with StateReader(states) as reader:
        T_s, T_t = ([reader.length(form, k) for k in range(6)] for form in ("speech", "text"))
    assert (T_s, T_t) == draw_lengths(6, 3)
    assert measures.ours(states, 1, 5)["monotonicity_cosine"]["raw"].mean() > 0.5


def test_growth_measures_every_shard():
    found = measures.work({"n": 8, "shard": 4, "depth": 2, "width": 32})
    assert found["seconds"] > 0 and found["peak_mib"] > 1


def test_the_dump_and_the_loop_hold_the_same_states(workload):
    activations.plain_loop(workload)
    path = activations.dump(workload)
    difference = activations.loop_difference(workload, path)
    assert 0 < difference < 2**-8  # the dump is rounded to bfloat16
    first = workload.folder / f"{workload.asked.ids[0]}.speech.npy"
    np.save(first, np.load(first) + 1)
    assert activations.loop_difference(workload, path) > 0.1


def test_the_limit_runs_every_query_once(workload):
    rows = []
    handle = workload.lm.decoder.register_forward_pre_hook(
        lambda _module, _args, kwargs: rows.append(len(kwargs["inputs_embeds"])), with_kwargs=True
    )
    activations.forward_only(workload, [[2, 0], [1, 3, 4]])
    handle.remove()
    assert rows == [2, 2, 3, 3]
    grouped = activations.batches_of_dump(workload)
    assert sorted(number for group in grouped for number in group) == list(range(len(workload.asked.ids)))


def test_arms_of_the_dump_are_reported_with_their_goals(workload, capsys):
    rows, ratios = activations.measure(workload, 1)
    assert [row[0] for row in rows][:3] == ["ours", "limit", "loop"]
    assert {ratio.name: ratio.goal for ratio in ratios}["activations_over_loop"] == 3.0
    assert "largest relative difference" in capsys.readouterr().out


def test_errors_of_word_times_are_those_planted():
    audio = np.zeros(100, np.float32)
    audio[[0, 20, 40, 79]] = [0.0001, 0.5, -1, 0.02]
    assert word_times.sound(audio) == (20, 80)
    errors = word_times.Errors()
    errors.add_word((1.0, 1.4), (1.1, 1.7))
    errors.add_word((1.0, 1.4), (1.2, 1.8))
    errors.add_word((1.0, 1.4), None)
    assert errors.start == pytest.approx([100, 200]) and errors.end == pytest.approx([300, 400])
    assert errors.centre == pytest.approx([200, 300]) and errors.inside == [True, False]
    assert errors.untimed == 1
    row = word_times.rows_of("made", {"voice": errors}, {"voice": 3.0}, 6)[0]
    assert row[:4] == ["made", "voice", 2, 1] and row[4:8] == pytest.approx([150, 150, 350, 250])
    assert row[-2:] == ["50.0%", 10.0]


@pytest.mark.parametrize("name", ["evaluation", "measures", "activations", "scale", "word_times"])
def test_programs_start(name):
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "--quick" in done.stdout


def test_a_worker_that_fails_is_reported_with_its_error():
    with pytest.raises(RuntimeError, match="No module named"):
        harness.run_apart("benchmarks.absent", {"threads": 1})


def test_a_worker_gives_its_last_line(tmp_path, monkeypatch):
    (tmp_path / "echo_worker.py").write_text("import sys, json\nprint('noise')\nprint(json.dumps(sys.argv[1:]))\n")
    monkeypatch.setattr(harness, "ROOT", tmp_path)
    answer = harness.run_apart("echo_worker", {"threads": 3, "n": 2})
    assert answer[:3] == ["--threads", "3", "--worker"] and json.loads(answer[3])["n"] == 2
