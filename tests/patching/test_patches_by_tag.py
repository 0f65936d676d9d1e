"""What patches restore by kind of question: a planted difference is found, its null taken off, odd ones left out."""

import numpy as np
import pytest

from tests.evaluation.test_tags import question, utterance
from workflow_scripts.artifacts.patches import OTHER, PATCH, PATCHES, TEXT_ONLY, TO_SPEECH, TO_TEXT, PatchRecord
from workflow_scripts.artifacts.questions import QUESTIONS
from workflow_scripts.artifacts.tables import read_table, select
from workflow_scripts.artifacts.utterances import UTTERANCES
from workflow_scripts.patching.build_patch_tag_table import build_patch_tag_table

N = 36
FACTS = {"model": "m", "checkpoint": "step-000010", "kept": N}


def record(number, source, values, **changes):
    options = {"kind": TEXT_ONLY, "direction": TO_SPEECH, "positions": "query", "window": 1} | changes
    return PatchRecord(id=f"a{number}", source=source, layers=list(range(len(values))), values=values, **options)


def build(tmp_path, records):
    asked = [question("it is " + "not" * (k % 3 == 0), k, source={}) for k in range(N)]
    QUESTIONS.write(tmp_path / "questions.jsonl", asked, {})
    UTTERANCES.write(tmp_path / "manifest.jsonl", [utterance(f"a{k}", 1.0 + k) for k in range(N)], {})
    paths = [tmp_path / "a" / f"{shard}.patches.jsonl" for shard in ("00-of-02", "01-of-02")]
    for path, half in zip(paths, (records[::2], records[1::2])):
        path.parent.mkdir(exist_ok=True)
        PATCHES.write(path, half, {"schema": "x"} | FACTS)
    build_patch_tag_table(
        tmp_path / "questions.jsonl", tmp_path / "manifest.jsonl", paths, tmp_path / "out.csv", seed=0
    )
    return read_table(tmp_path / "out.csv", "patching_tags")


def test_a_patch_that_helps_negated_questions_only_is_found_there(tmp_path):
    rng = np.random.default_rng(0)
    records = []
    for k in range(N):
        nothing = rng.normal(0, 0.1, 3).tolist()
        helps = 2.0 * (k % 3 == 0)
        records += [record(k, OTHER, nothing), record(k, PATCH, [value + helps for value in nothing])]
        # What must not count: the other direction, wider windows, the random control.
        records += [record(k, source, [50.0], direction=TO_TEXT) for source in (PATCH, OTHER)]
        records += [record(k, PATCH, [50.0], window=2), record(k, "random", [50.0] * 3)]
    table = build(tmp_path, records)
    rows = select(table, measure="beyond_other").set_index("tag")
    assert list(rows.index) == ["negation", "short speech", "middle speech", "long speech", "WER 0"]
    row = rows.loc["negation"]
    assert row[["model", "subset", "kind", "positions"]].tolist() == ["m", "a", TEXT_ONLY, "query"]
    assert (row["n"], row["n_rest"], row["value"], row["rest"]) == (12, 24, pytest.approx(2), pytest.approx(0))
    assert row["difference"] == pytest.approx(2) and row["p_holm"] < 0.01
    assert (rows.drop("negation")["p_holm"].dropna() > 0.05).all()
    patched = select(table, measure="patched").set_index("tag").loc["negation"]
    assert patched["difference"] == pytest.approx(2, abs=0.2) and patched["p_holm"] < 0.01
    assert rows.loc["WER 0", "n_rest"] == 0 and np.isnan(rows.loc["WER 0", "difference"])


def test_another_questions_states_that_do_harm_are_not_taken_for_a_patch_that_helps(tmp_path):
    records = [
        record(k, source, [1.0 - 3.0 * (source == OTHER and k % 3 == 0)]) for k in range(N) for source in (PATCH, OTHER)
    ]
    rows = build(tmp_path, records)
    rows = select(rows, tag="negation").set_index("measure")
    assert rows.loc["beyond_other", "difference"] == pytest.approx(3) and rows.loc["beyond_other", "p_holm"] < 0.01
    assert rows.loc["patched", "difference"] == 0 and rows.loc["patched", "p_holm"] == 1


def test_questions_without_a_partner_are_left_out_and_classes_and_kinds_stay_apart(tmp_path):
    records = [record(k, source, [1.0 + (source == PATCH)]) for k in range(8) for source in (PATCH, OTHER)]
    records += [record(9, PATCH, [99.0]), record(10, "", [], skipped="no outcome")]
    records += [record(k, source, [0.0], positions="last") for k in range(2) for source in (PATCH, OTHER)]
    table = select(build(tmp_path, records), measure="beyond_other")
    assert set(table[["positions", "n", "value"]][table["tag"] == "WER 0"].itertuples(index=False, name=None)) == {
        ("query", 8, 1.0),
        ("last", 2, 0.0),
    }


def test_nothing_patched_gives_an_empty_table(tmp_path):
    assert build(tmp_path, [record(0, "", [], skipped="no outcome")]).empty
