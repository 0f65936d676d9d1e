"""From a shard to attention.csv and knockout.csv: which questions count, what the tables say, what happens without."""

import dataclasses
from unittest import mock

import numpy as np
import pytest

from tests.intervention.conftest import SHARD
from tests.patching.test_patching_steps import IDS, write_scores
from tests.tiny_study import write_tiny_study
from workflow_scripts.artifacts.attention import (
    ATTENTION,
    KNOCKOUT,
    LOOKED_AT,
    QUERY,
    SPEECH,
    TEXT,
    AttentionRecord,
    KnockoutRecord,
)
from workflow_scripts.artifacts.patches import SPEECH_ONLY, TEXT_ONLY
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.patching import read_attention as module
from workflow_scripts.patching.compare_attention import attention_rows, compare_attention, knockout_rows
from workflow_scripts.patching.patch_states import LEFT_OUT, NO_OUTCOME
from workflow_scripts.speech_lm.families.composite import CompositeSpeechLM
from workflow_scripts.speech_lm.opening.open_model import open_model


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return write_tiny_study(tmp_path_factory.mktemp("study"))


def run(study, folder, text, speech, **patching):
    """The step and the tables: both files' records, both tables."""
    files = [folder / "tiny" / f"{SHARD}.{kind}.jsonl" for kind in ("attention", "knockout")]
    files[0].parent.mkdir(parents=True)

    def open_in_float32(*arguments, **options):
        return dataclasses.replace(open_model(*arguments, **options), lm=study.load())

    with mock.patch.object(module, "open_model", open_in_float32):
        module.read_attention(
            **study.inputs(),
            text=write_scores(folder / "text.json", "text", text),
            speech=write_scores(folder / "speech.json", "speech", speech),
            attention=files[0],
            knockout=files[1],
            shard=SHARD,
            patching={"attention": {"window": 2, "stride": 1}} | patching,
            seed=7,
        )
    tables = [folder / f"{name}.csv" for name in ("attention", "knockout")]
    compare_attention(files[:1], files[1:], *tables)
    return ATTENTION.read(files[0]), KNOCKOUT.read(files[1]), *(read_table(path, path.stem) for path in tables)


@pytest.fixture(scope="module")
def made(study, tmp_path_factory):
    return run(study, tmp_path_factory.mktemp("made"), ("q0", "q2", "q3"), ("q4", "q0"))


def test_both_forms_of_the_patched_questions_are_read_and_one_without_outcome_is_counted(made):
    looked, knocked, attention, knockout = made
    for records in (looked, knocked):
        kinds = {(one.id, one.form): one.kind for one in records}
        assert kinds == {
            (name, form): kind
            for name, kind in (("q2", TEXT_ONLY), ("q3", TEXT_ONLY), ("q4", SPEECH_ONLY))
            for form in (SPEECH, TEXT)
        }
        assert {one.id for one in records if one.skipped == NO_OUTCOME} == {"q3"}
    for table in (attention, knockout):
        own = select(table, kind=TEXT_ONLY, form=SPEECH)
        assert set(own["n"]) == {1} and set(own["skipped"]) == {1} and set(own["note"]) == {f"{NO_OUTCOME}: 1"}


def test_the_tables_have_every_layer_and_window_with_baseline_and_control(made):
    _, knocked, attention, knockout = made
    own = select(attention, kind=TEXT_ONLY, form=SPEECH)
    assert own.groupby("layer")["share"].sum().to_numpy() == pytest.approx(1, abs=1e-4)
    assert select(own, positions=QUERY)["layer"].tolist() == [0, 1, 2] and set(own["positions"]) == set(LOOKED_AT)
    assert own["uniform"].between(0, 1).all() and (own["highest"] >= own["share"] - 1e-6).all()
    rows = select(knockout, kind=TEXT_ONLY, form=SPEECH)
    assert list(zip(rows["layer"], rows["window"])) == [(0, 2), (1, 2), (0, 3)] and set(rows["depth"]) == {3}
    one = next(record for record in knocked if (record.id, record.form) == ("q2", SPEECH))
    change = np.array(one.values) - one.base
    control = np.mean(one.controls, axis=0) - one.base
    assert rows["change"].to_numpy() == pytest.approx(change, rel=1e-4)
    assert rows["difference"].to_numpy() == pytest.approx(change - control, rel=1e-4)
    assert rows[["p", "p_holm", "control", "n_positions", "n_control"]].notna().all().all()
    assert (rows["n_control"] <= rows["n_positions"]).all()


def test_without_a_question_or_for_a_model_that_only_runs_whole_each_table_says_so(study, tmp_path, monkeypatch):
    looked, knocked, *tables = run(study, tmp_path / "none", IDS, IDS)
    assert looked == knocked == []
    assert [table["note"].tolist() for table in tables] == [["no question right in one form only"]] * 2
    monkeypatch.setattr(CompositeSpeechLM, "shares_prompts", False)
    looked, knocked, *tables = run(study, tmp_path / "whole", ("q0",), ())
    assert looked == knocked == [] and [table["note"].tolist() for table in tables] == [[LEFT_OUT]] * 2
    assert all(table["n"].tolist() == [0] for table in tables)


def test_attention_that_gives_no_weights_is_a_row_with_its_reason(study, tmp_path, monkeypatch):
    monkeypatch.setattr("workflow_scripts.speech_lm.probing.attention.EAGER", "sdpa")
    *_, attention, knockout = run(study, tmp_path, ("q2",), (), select="all", questions=2)
    assert set(attention["n"]) == {0} and set(attention["note"]) == {"its attention gives no weights: 2"}
    assert (knockout["n"] == 2).all()


def hidden(effect, noise, n=24, seed=0):
    """Records of one window in which the query is worth `effect` beyond the control."""
    rng = np.random.default_rng(seed)
    for number in range(n):
        base = float(rng.normal(-2, 1))
        draws = [[base + float(rng.normal(0, noise))] for _ in range(3)]
        shown = {"kind": TEXT_ONLY, "form": SPEECH, "outcome": "reference_log_prob", "n_positions": 9, "n_control": 9}
        value = base + effect + float(rng.normal(0, noise))
        yield KnockoutRecord(
            id=f"q{number}", base=base, windows=[(2, 3)], values=[value], controls=draws, **shown
        )  # fmt: skip


def test_a_planted_cost_is_found_and_one_that_the_control_has_too_is_not():
    [row] = knockout_rows(list(hidden(-0.5, 0.2)), {"n_layers": 8})
    assert row["difference"] == pytest.approx(-0.5, abs=0.1) and row["p"] < 1e-4
    assert row["difference_low"] < row["difference"] < row["difference_high"] < 0
    assert 0 < row["detectable"] < 0.3
    # Where hiding anything costs as much, only the test against nothing hidden is sure; p is the larger one.
    both = [
        one.model_copy(update={"controls": [[draw[0] - 0.5] for draw in one.controls]}) for one in hidden(-0.5, 0.2)
    ]
    [row] = knockout_rows(both, {"n_layers": 8})
    assert row["change"] == pytest.approx(-0.5, abs=0.1) and row["p"] > 0.05


def test_without_an_effect_p_is_below_five_percent_rarely():
    found = [next(knockout_rows(list(hidden(0, 0.2, seed=seed)), {"n_layers": 8}))["p"] for seed in range(200)]
    assert np.mean(np.array(found) < 0.05) <= 0.05


def test_shares_are_means_over_questions_with_an_interval_inside_0_to_1():
    records = [
        AttentionRecord(
            id=f"q{number}", kind=TEXT_ONLY, form=SPEECH, n_rows=2,
            uniform=dict.fromkeys(LOOKED_AT, 0.2), shares={name: [share, 0.0] for name in LOOKED_AT},
            highest={name: [2 * share, 0.0] for name in LOOKED_AT},
        )
        for number, share in enumerate((0.1, 0.2, 0.3))
    ]  # fmt: skip
    row, nothing = (one for one in attention_rows(records, {}) if one["positions"] == QUERY)
    assert row["share"] == pytest.approx(0.2) and row["highest"] == pytest.approx(0.4) and row["n"] == 3
    assert 0 <= row["share_low"] < 0.2 < row["share_high"] <= 1
    assert nothing["share"] == 0 and nothing["share_high"] > 0
