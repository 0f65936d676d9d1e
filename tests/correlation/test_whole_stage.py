"""From state files to claims: three planted runs whose alignment grows with training while the gap closes."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
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
from workflow_scripts.artifacts.tables import read_table, select, write_table
from workflow_scripts.correlation.build_alignment_table import build_alignment_table
from workflow_scripts.correlation.judge_claims import judge_claims, regression_claims
from workflow_scripts.correlation.regress_answers import regress_answers
from workflow_scripts.correlation.regress_gap import regress_gap
from workflow_scripts.correlation.sensitivity import sensitivity
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.similarity.measure_similarity import measure_similarity

RUNS = {f"run{k}": {"strategy": "lora", "backbone": "lm", "warmup": "none", "start": f"lm {k}"} for k in range(4)}
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
            row = {"model": model, "checkpoint": checkpoint, "step": step, "subset": "overall", "form": "gap", "n": N}
            gap.append(row | {"measure": "score", "value": 40 - 30 * strength + rng.normal()})
            gap.append(row | {"measure": "loss", "value": 2 - strength})
    write_table(folder / "gap.csv", gap, "gap")
    names = ("layers", "checkpoints", "cka", "points", "regression", "comparisons", "claims", "sensitivity")
    table = {name: folder / f"{name}.csv" for name in (*names, "answers_regression")}
    build_alignment_table(similarity, alignment, *(table[name] for name in names[:3]))
    made = (folder / "gap.csv", table["checkpoints"], table["points"], table["regression"], table["comparisons"])
    regress_gap(*made, models=RUNS)
    judged = (table[name] for name in ("layers", "checkpoints", "regression", "comparisons", "claims"))
    judge_claims(*judged, models=RUNS)
    sensitivity(similarity, alignment, readings, folder / "gap.csv", table["sensitivity"], models=RUNS)
    regress_answers(similarity, alignment, scores, table["answers_regression"], models=RUNS)
    return {name: read_table(path, name) for name, path in table.items()} | {
        "files": (similarity, alignment, scores),
        "readings": readings,
        "gap": folder / "gap.csv",
    }


def pick(frame, **wanted):
    (row,) = select(frame, **wanted).to_dict("records")
    return row


def test_the_mean_stands_beside_its_null_and_a_best_layer_that_pays_for_its_choice(stage):
    last = {"model": "run0", "checkpoint": "step-000040", "subset": "all"}
    row = pick(stage["checkpoints"], **last, measure="path_score_cosine")
    assert row["calibrated"] == pytest.approx((row["value"] - row["null"]) / (1 - row["null"]), rel=1e-4)
    assert row["p"] == row["best_p"] == pytest.approx(1 / 31, rel=1e-4)
    assert row["best_layer"] in (1, 2, 3) and row["best_null"] > row["null"] and row["draws"] == 30
    by_layer = select(stage["layers"], **last, measure="path_score_cosine").set_index("layer")["value"]
    assert row["best_value"] == pytest.approx(by_layer[row["best_layer"]])
    start = pick(stage["checkpoints"], **(last | {"checkpoint": "step-000000"}), measure="path_score_cosine")
    assert start["p"] > 0.05
    tested = set(stage["checkpoints"].dropna(subset="p")["measure"])
    assert tested == {name for name, measure in MEASURES.items() if measure.has_null}


def test_every_layer_is_compared_with_every_layer(stage):
    own = select(stage["cka"], model="run1", checkpoint="step-000040")
    assert len(own) == 16
    assert (own["p"].notna() == (own["speech_layer"] == own["text_layer"])).all()


def test_predictors_are_compared_on_the_same_runs(stage):
    row = pick(stage["comparisons"], outcome="gap", first="path_score_cosine", second="cosine")
    assert (row["n_runs"], row["n_checkpoints"]) == (4, 16)
    assert row["r2_difference_low"] <= row["r2_difference"] <= row["r2_difference_high"]
    predictors = set(select(stage["comparisons"], second="log_step")["first"])
    assert {"cka", "path_score_cosine_calibrated", "path_score_centred", "loss_gap", "euclidean"} <= predictors


def test_claims_follow_what_was_planted(stage):
    claims = stage["claims"]
    assert pick(claims, claim="cosine improves with training")["verdict"] == "supported"
    assert pick(claims, claim="alignment is spontaneous")["verdict"] == "supported"
    # Distances grow with the planted norms; with only three layers above 0 no rank correlation is defined.
    assert pick(claims, claim="Euclidean distance rises with depth")["verdict"] == "underpowered"
    assert pick(claims, claim="paths are monotonic", n_runs=4, measure="monotonicity_cosine")
    assert set(claims["verdict"]) <= {"supported", "not supported", "underpowered"}
    assert (claims["rule"] != "").all()
    assert not claims.duplicated(["claim", "outcome", "measure", "statistic"]).any() and len(claims) == 8 + 2 * (8 + 2)
    length_free = pick(claims, claim="Euclidean distance rises with depth, lengths divided out")
    assert length_free["measure"] == "length_free_distance"


def test_a_claim_is_supported_only_if_sign_q2_and_the_advantage_over_training_time_hold():
    """One rule: R2 of .9 is not enough where training time does as well, or where the sign is the other one."""
    fit = {"outcome": "gap", "predictor": "cosine", "pool": "pooled", "n_checkpoints": 20, "n_runs": 4}
    fit |= {"slope": -2.0, "r2": 0.9, "r2_runs_low": 0.7, "r2_runs_high": 0.95, "q2": 0.6}
    pair = {"outcome": "gap", "first": "cosine", "second": "log_step", "r2_difference": 0.2}
    pair |= {"r2_difference_low": 0.1, "r2_difference_high": 0.3}

    def verdict(**changes):
        fits, pairs = (pd.DataFrame([row | {k: v for k, v in changes.items() if k in row}]) for row in (fit, pair))
        return [row["verdict"] for row in regression_claims(fits, pairs)]

    assert verdict() == ["supported"]
    for change in ({"slope": 2.0}, {"q2": -0.1}, {"r2_difference_low": -0.01}):
        assert verdict(**change) == ["not supported"]
    for change in ({"n_runs": 2}, {"q2": np.nan}, {"r2_difference_low": np.nan}):
        assert verdict(**change) == ["underpowered"]


def test_the_note_of_a_prediction_says_how_far_its_runs_can_tell(stage):
    """Not supported with an interval from -0.3 to 0.6 is too few runs; with one below 0 it is a finding."""
    claim = pick(stage["claims"], claim="similarity predicts GAP", measure="cosine")
    pair = pick(stage["comparisons"], outcome="gap", first="cosine", second="log_step")
    low, high = (f"{pair[name]:.3f}" for name in ("r2_difference_low", "r2_difference_high"))
    assert f"training time {pair['r2_difference']:.3f} [{low}, {high}]" in claim["note"]


def test_claims_with_two_runs_are_underpowered(tmp_path):
    rows = [
        {"model": run, "checkpoint": "step-000010", "step": 10, "subset": "all", "layer": layer, "measure": "cosine"}
        | {"n": 5, "value": 0.1 * layer}
        for run in "ab"
        for layer in range(6)
    ]
    names = ("layers", "checkpoints", "regression", "comparisons", "claims")
    paths = [tmp_path / f"{name}.csv" for name in names]
    for name, path in zip(names, paths):
        write_table(path, rows if name == "layers" else [], name)
    judge_claims(*paths, models={name: {"warmup": "none", "start": name} for name in "ab"})
    first = pick(read_table(paths[-1], "claims"), claim="cosine rises with depth")
    assert (first["estimate"], first["n_runs"], first["verdict"]) == (1, 2, "underpowered") and np.isnan(first["low"])


def test_sensitivity_compares_every_reading_with_its_default(stage):
    rows = stage["sensitivity"]
    for row in rows.to_dict("records"):
        assert row["n_runs"] == 4 and row["n_checkpoints"] == 16
        if row["default"]:
            assert row["difference"] == 0 and row["r2_difference"] == 0
    assert pick(rows, score="APS cosine", switch="layers", reading="best of 1..L")["difference"] >= 0
    assert pick(rows, score="APS cosine", switch="direction", reading="text-monotone path")["difference"] < 1e-6
    assert pick(rows, score="APS euclidean", switch="direction", reading="cosine path")["difference"] >= 0
    plain = pick(rows, score="APS cosine", switch="averaging", reading="tokens, layers, questions")
    fit = pick(stage["regression"], outcome="gap", predictor="path_score_cosine", pool="pooled")
    assert (plain["r2"], plain["q2"]) == pytest.approx((fit["r2"], fit["q2"]), rel=1e-4)
    assert rows["value"].notna().all()


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
        sensitivity(similarity[:1], alignment[4:5], stage["readings"][:1], *options, models=RUNS)
    content = read_measurements(similarity[0], SIMILARITY)
    other = ["zzz", *content.ids[1:]]
    write_measurements(tmp_path / "other.h5", SIMILARITY, replace(content, ids=other))
    with pytest.raises(ArtifactError, match=r"hold different questions, such as \['q0', 'zzz'\]"):
        sensitivity([tmp_path / "other.h5"], alignment[:1], stage["readings"][:1], *options, models=RUNS)
    with pytest.raises(ArtifactError, match="hold different questions"):
        build_alignment_table([tmp_path / "other.h5"], alignment[:1], *(tmp_path / f"{k}.csv" for k in range(3)))
    with pytest.raises(ArtifactError, match="hold different questions"):
        regress_answers(
            [tmp_path / "other.h5"], alignment[:1], stage["files"][2], tmp_path / "a.csv", models={"run0": RUNS["run0"]}
        )
    assert not (tmp_path / "t.csv").exists()


def test_answers_are_regressed_with_errors_by_run(stage):
    row = pick(stage["answers_regression"], score="path_score_cosine", with_log_step=False, term="path_score_cosine")
    assert (row["n"], row["n_runs"]) == (N * 16, 4)
    assert row["coefficient"] > 0 and row["verdict"] in ("supported", "not supported")
    timed = pick(stage["answers_regression"], score="path_score_cosine", with_log_step=True, term="log_step")
    assert timed["verdict"] == "" and np.isfinite(timed["low"])


def test_a_measured_question_without_score_is_named(stage, tmp_path):
    similarity, alignment, scores = stage["files"]
    with pytest.raises(ArtifactError, match="'q0' has no score in form speech"):
        regress_answers(similarity, alignment, scores[:1], tmp_path / "t.csv", models=RUNS)


def test_an_untrained_model_from_which_several_runs_start_counts_once_everywhere(stage, tmp_path):
    """Sensitivity and answers: 4 runs of 4 checkpoints with one start are 13 points; of two pairs of starts, 14."""
    similarity, alignment, scores = stage["files"]
    for starts, points in (("aaaa", 13), ("abab", 14)):
        models = {name: facts | {"start": start} for (name, facts), start in zip(RUNS.items(), starts)}
        sensitivity(similarity, alignment, stage["readings"], stage["gap"], tmp_path / "sensitivity.csv", models=models)
        rows = read_table(tmp_path / "sensitivity.csv", "sensitivity")
        assert set(rows["n_checkpoints"]) == {points} and set(rows["n_runs"]) == {4}
        assert set(rows["n"]) <= {N * points, 3 * points, 2 * points} | set(range(N * points, 12 * N * points))
        # The order of the files does not decide whose start stays.
        orders = [slice(None), slice(None, None, -1)]
        found = []
        for order in orders:
            answers = tmp_path / "answers.csv"
            regress_answers(similarity[order], alignment[order], scores, answers, models=models)
            found.append(read_table(answers, "answers_regression"))
        assert set(found[0]["n"]) == {N * points} and set(found[0]["n_runs"]) == {4}
        pd.testing.assert_frame_equal(*found, rtol=1e-4)
        names = ("layers", "checkpoints", "regression", "comparisons")
        paths = [tmp_path / f"{name}.csv" for name in names]
        for name, path in zip(names, paths):
            write_table(path, stage[name], name)
        judge_claims(*paths, tmp_path / "claims.csv", models=models)
        claims = read_table(tmp_path / "claims.csv", "claims")
        for claim in ("cosine improves with training", "alignment is spontaneous"):
            assert (pick(claims, claim=claim)["n_checkpoints"], pick(claims, claim=claim)["n_runs"]) == (points, 4)
