"""From state files to claims: three planted runs whose alignment grows with training while the gap closes."""

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.planted_states import plant_text, random_states, write_planted
from workflow_scripts.activations.readings import SCORES, VARIANTS
from workflow_scripts.alignment.align_tokens import align_tokens
from workflow_scripts.artifacts.files import ArtifactError
from workflow_scripts.artifacts.measurements import (
    ALIGNMENT,
    READINGS,
    SIMILARITY,
    Measured,
    Measurements,
    read_measurements,
    write_measurements,
)
from workflow_scripts.artifacts.scores import QuestionScore, ScoreFile
from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.correlation.judge_claims import judge_claims
from workflow_scripts.correlation.regress_answers import regress_answers
from workflow_scripts.correlation.regress_gap import regress_gap
from workflow_scripts.correlation.vary_readings import vary_readings
from workflow_scripts.similarity.measure_similarity import measure_similarity

RUNS = {f"run{k}": {"strategy": "lora", "backbone": "lm", "warmup": "none"} for k in range(4)}
STEPS = (0, 10, 20, 40)
N = 8


def score_file(folder, model, checkpoint, form, right):
    questions = [
        QuestionScore(id=f"q{k}", score=float(value), parsed="x", outcome="o", rule="r", unparsed=False)
        for k, value in enumerate(right)
    ]
    path = folder / model / checkpoint / f"{form}.scores.json"
    facts = {"model": model, "checkpoint": checkpoint, "subset": "s", "form": form}
    ScoreFile(
        **facts,
        **{"scorer": "x", "scorer_version": "1", "n": N, "mean": 0.0, "interval_low": 0.0, "interval_high": 0.0},
        **{"interval_method": "wilson", "unparsed_rate": 0.0, "nll_per_token": None, "provenance": {}},
        questions=questions,
    ).write(path)
    return path


def write_readings(path, similarity, alignment, first=3):
    """Readings of the first questions: those of the stored files, and `SHIFTS` above them; no padding for q0."""
    pooled, aligned = read_measurements(similarity, SIMILARITY), read_measurements(alignment, ALIGNMENT)
    stored = pooled.measures | aligned.measures
    measures = {}
    for number, suffix in enumerate(("", *(f"_{one}" for one in VARIANTS))):
        for score in SCORES:
            values = stored[score].raw[:first].astype(np.float64) + SHIFT * number
            if suffix == "_padded":
                values[0] = np.nan
            measures[score + suffix] = Measured(values, *(np.full_like(values, np.nan),) * 3)
    lengths = pooled.T_s[:first], pooled.T_t[:first]
    attributes = {name: pooled.attributes[name] for name in ("model", "checkpoint", "subset")}
    write_measurements(path, READINGS, Measurements(pooled.ids[:first], measures, *lengths, attributes))
    return path


SHIFT = 0.01


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """Folder with every table of the stage."""
    folder = tmp_path_factory.mktemp("stage")
    similarity, alignment, readings, scores, gap = [], [], [], [], []
    for number, model in enumerate(RUNS):
        rng = np.random.default_rng(number)
        text = random_states([6 + k % 3 for k in range(N)], number, depth=4, width=24)
        planted, _ = plant_text(text, [16 + k % 4 for k in range(N)], number + 9)
        noise = random_states([one.shape[1] for one in planted], number + 20, depth=4, width=24)
        for step in STEPS:
            checkpoint = f"step-{step:06d}"
            strength = math.log1p(step) / 4 + 0.02 * rng.normal()
            growth = np.array([1, 2, 4, 8], dtype=np.float32)[:, None, None]
            speech = [growth * (a * strength + b * 0.6) for a, b in zip(planted, noise)]
            written = [growth * one for one in text]
            states = folder / "states.h5"
            write_planted(states, speech, written, {"model": model, "checkpoint": checkpoint, "subset": "s"})
            for paths, kind in ((similarity, "similarity"), (alignment, "alignment")):
                paths.append(folder / kind / model / f"{checkpoint}.h5")
            measure_similarity(states, similarity[-1], draws=30, seed=0, massive=1)
            align_tokens(states, alignment[-1], draws=30, seed=0, examples=0)
            target = folder / "readings" / model / f"{checkpoint}.h5"
            readings.append(write_readings(target, similarity[-1], alignment[-1]))
            chance = {"text": rng.uniform(size=N) < 0.7, "speech": rng.uniform(size=N) < 0.2 + strength / 2}
            scores += [score_file(folder, model, checkpoint, form, right) for form, right in chance.items()]
            row = {"model": model, "checkpoint": checkpoint, "step": step, "subset": "overall", "n": N}
            gap.append(row | {"gap": 40 - 30 * strength + rng.normal(), "loss_gap": 2 - strength})
    columns = ("model", "checkpoint", "step", "subset", "n", "text", "speech", "gap", "gap_low", "gap_high")
    write_table(folder / "gap.csv", gap, (*columns, "loss_gap", "loss_gap_low", "loss_gap_high"))
    names = ("layers", "checkpoints", "chance", "cka", "points", "regression", "comparisons", "claims", "sensitivity")
    table = {name: folder / f"{name}.csv" for name in (*names, "answers")}
    build_alignment_table(similarity, alignment, *(table[name] for name in names[:4]))
    made = (folder / "gap.csv", table["checkpoints"], table["points"], table["regression"], table["comparisons"])
    regress_gap(*made, models=RUNS, draws=200, seed=0)
    judged = (table[name] for name in ("layers", "checkpoints", "regression", "comparisons", "claims"))
    judge_claims(*judged, models=RUNS)
    vary_readings(similarity, alignment, readings, folder / "gap.csv", table["sensitivity"], models=list(RUNS))
    regress_answers(similarity, alignment, scores, table["answers"], models=list(RUNS))
    return {name: read_table(path) for name, path in table.items()} | {
        "files": (similarity, alignment, scores),
        "readings": readings,
        "gap": folder / "gap.csv",
    }


def pick(rows, **wanted):
    (row,) = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    return row


def test_chance_has_the_mean_its_null_and_a_best_layer_that_pays_for_its_choice(stage):
    last = {"model": "run0", "checkpoint": "step-000040", "subset": "all"}
    row = pick(stage["chance"], **last, measure="path_score_cosine")
    mean = pick(stage["checkpoints"], **last)
    assert row["raw"] == pytest.approx(mean["aps_cosine"], rel=1e-4)
    assert row["null"] == pytest.approx(mean["aps_cosine_null"], rel=1e-3)
    assert row["calibrated"] == pytest.approx((row["raw"] - row["null"]) / (1 - row["null"]), rel=1e-4)
    assert row["p"] == row["best_p"] == pytest.approx(1 / 31, rel=1e-4)
    assert row["best_layer"] in (1, 2, 3) and row["best_null"] > row["null"]
    start = pick(stage["chance"], **(last | {"checkpoint": "step-000000"}), measure="path_score_cosine")
    assert start["p"] > 0.05
    measured = {row["measure"] for row in stage["chance"]}
    assert {"cka", "dtw_cost", "retrieval", "monotonicity_euclidean", "path_score_centred"} <= measured


def test_every_layer_is_compared_with_every_layer(stage):
    own = [row for row in stage["cka"] if (row["model"], row["checkpoint"]) == ("run1", "step-000040")]
    assert len(own) == 16
    assert all((row["p"] is not None) == (row["speech_layer"] == row["text_layer"]) for row in own)


def test_predictors_are_compared_on_the_same_runs(stage):
    row = pick(stage["comparisons"], outcome="gap", first="aps_cosine", second="sim_cosine")
    assert (row["n_runs"], row["n_checkpoints"]) == (4, 16)
    assert row["r2_difference_low"] <= row["r2_difference"] <= row["r2_difference_high"]
    predictors = {row["first"] for row in stage["comparisons"] if row["second"] == "log_step"}
    assert {"cka", "aps_cosine_calibrated", "aps_cosine_centred", "loss_gap", "sim_euclidean"} <= predictors


def test_claims_follow_what_was_planted(stage):
    claims = {(row["claim"], row["measure"]): row for row in stage["claims"]}
    assert pick(stage["claims"], claim="cosine improves with training")["verdict"] == "supported"
    assert pick(stage["claims"], claim="alignment is spontaneous")["verdict"] == "supported"
    # Distances grow with the planted norms; with only three layers above 0 no rank correlation is defined.
    assert pick(stage["claims"], claim="Euclid rises with depth")["verdict"] == "underpowered"
    assert pick(stage["claims"], claim="paths are monotonic", n_runs=4, measure="monotonicity_cosine minus its null")
    assert all(row["verdict"] in ("supported", "not supported", "underpowered") for row in claims.values())
    assert all(row["rule"] for row in claims.values())
    assert len(claims) == len(stage["claims"]) == 14


def test_claims_with_two_runs_are_underpowered(stage, tmp_path):
    layers = [
        {"model": run, "checkpoint": "step-000010", "step": 10, "subset": "all", "layer": layer, "metric": metric}
        | {"n": 5, "similarity": 0.1 * layer, "length_free": 1.0 + layer}
        for run in "ab"
        for layer in range(6)
        for metric in ("cosine", "euclidean")
    ]
    for name, rows in (("layers", layers), ("empty", [])):
        columns = list(layers[0]) if name == "layers" else ["model", "subset", "outcome", "pool", "predictor", "first"]
        write_table(tmp_path / f"{name}.csv", rows, columns)
    empty = tmp_path / "empty.csv"
    judge_claims(tmp_path / "layers.csv", empty, empty, empty, tmp_path / "c.csv", models={k: {} for k in "ab"})
    rows = read_table(tmp_path / "c.csv")
    first = pick(rows, claim="cosine rises with depth")
    assert (first["estimate"], first["n_runs"], first["low"], first["verdict"]) == (1, 2, None, "underpowered")


def test_sensitivity_compares_every_reading_with_its_default(stage):
    rows = stage["sensitivity"]
    for row in rows:
        assert row["n_runs"] == 4 and row["n_checkpoints"] == 16
        if row["default"]:
            assert row["difference"] == 0 and row["r2_difference"] == 0
    assert pick(rows, score="APS cosine", switch="layers", reading="best of 1..L")["difference"] >= 0
    assert pick(rows, score="APS cosine", switch="direction", reading="text-monotone path")["difference"] < 1e-6
    assert pick(rows, score="APS euclidean", switch="direction", reading="cosine path")["difference"] >= 0
    plain = pick(rows, score="APS cosine", switch="averaging", reading="tokens, layers, questions")
    fit = pick(stage["regression"], outcome="gap", predictor="aps_cosine", pool="pooled")
    assert (plain["r2"], plain["q2"]) == pytest.approx((fit["r2"], fit["q2"]), rel=1e-4)
    assert all(row["value"] is not None for row in rows)


def test_measured_switches_are_compared_with_the_default_on_the_same_questions(stage):
    rows = stage["sensitivity"]
    whole = pick(rows, score="APS cosine", switch="layers", reading="1..L")
    plain = pick(rows, score="APS cosine", switch="template", reading="query only")
    assert (whole["n"], plain["n"]) == (N * 16, 3 * 16) and whole["value"] != plain["value"]
    for score in ("APS cosine", "APS euclidean", "Sim cosine", "Sim euclidean"):
        both = pick(rows, score=score, switch="template", reading="both with template")
        assert both["difference"] == pytest.approx(4 * SHIFT, rel=1e-2) and not both["default"]
        assert both["r2_difference"] == pytest.approx(0, abs=1e-4)
        normed = pick(rows, score=score, switch="last state, layer L only", reading="after the final norm")
        assert normed["difference"] == pytest.approx(5 * SHIFT, rel=1e-2)
    # q0 has no padding: its switch leaves it out of the reading, and of the default.
    for reading in ("real audio", "with the padding of the window"):
        assert pick(rows, score="Sim cosine", switch="speech span", reading=reading)["n"] == 2 * 16
    padded = pick(rows, score="Sim cosine", switch="speech span", reading="with the padding of the window")
    assert padded["difference"] == pytest.approx(SHIFT, rel=1e-2)


def test_files_of_different_questions_or_models_are_named(stage, tmp_path):
    similarity, alignment, _ = stage["files"]
    options = stage["gap"], tmp_path / "t.csv"
    with pytest.raises(ArtifactError, match=r"is of run1/step-000000/s, .* of run0/step-000000/s"):
        vary_readings(similarity[:1], alignment[4:5], stage["readings"][:1], *options, models=list(RUNS))
    content = read_measurements(similarity[0], SIMILARITY)
    other = ["zzz", *content.ids[1:]]
    write_measurements(tmp_path / "other.h5", SIMILARITY, replace(content, ids=other))
    with pytest.raises(ArtifactError, match=r"hold different questions, such as \['q0', 'zzz'\]"):
        vary_readings([tmp_path / "other.h5"], alignment[:1], stage["readings"][:1], *options, models=list(RUNS))
    with pytest.raises(ArtifactError, match="hold different questions"):
        build_alignment_table([tmp_path / "other.h5"], alignment[:1], *(tmp_path / f"{k}.csv" for k in range(4)))
    with pytest.raises(ArtifactError, match="hold different questions"):
        regress_answers([tmp_path / "other.h5"], alignment[:1], stage["files"][2], tmp_path / "a.csv", models=["run0"])
    assert not (tmp_path / "t.csv").exists()


def test_answers_are_regressed_with_errors_by_run(stage):
    row = pick(stage["answers"], score="aps_cosine", with_log_step=False, term="aps_cosine")
    assert (row["n"], row["n_runs"]) == (N * 16, 4)
    assert row["coefficient"] > 0 and row["verdict"] in ("supported", "not supported")
    timed = pick(stage["answers"], score="aps_cosine", with_log_step=True, term="log_step")
    assert timed["verdict"] is None and timed["low"] is not None


def test_a_measured_question_without_score_is_named(stage, tmp_path):
    similarity, alignment, scores = stage["files"]
    with pytest.raises(ArtifactError, match="'q0' has no score in form speech"):
        regress_answers(similarity, alignment, scores[:1], tmp_path / "t.csv", models=list(RUNS))
