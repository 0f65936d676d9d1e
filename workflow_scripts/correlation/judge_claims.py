"""claims.csv: each claim of the paper with an estimate, its interval, n and a verdict by the rule in the row.

Every verdict of the study on a claim of the paper is made here; the page prints these rows. The unit is the training
run. An estimate per run is averaged over runs with a t interval (95 %); a comparison of predictors uses the paired
jackknife over runs. Verdicts:

    underpowered   fewer than MIN_RUNS runs that the claim is about, or a number that the rule needs is undefined
    supported      the rule in column `rule` holds
    not supported  otherwise
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from workflow_scripts.artifacts.patches import SPEECH_ONLY, TO_SPEECH
from workflow_scripts.artifacts.tables import last_checkpoints, read_table, select, without_repeated_starts, write_table
from workflow_scripts.correlation.points import LOG_STEP, OUTCOMES
from workflow_scripts.correlation.regress_gap import PAPER_PAIRS
from workflow_scripts.correlation.samples import ALL
from workflow_scripts.measures.probes import SPEECH, TEXT
from workflow_scripts.measures.registry import CALIBRATED, MEASURES, predictors
from workflow_scripts.measures.word_reading import NEXT, OWN
from workflow_scripts.settings.intervention import ERASE, RANDOM_SUBSPACE
from workflow_scripts.statistics.means import student_interval
from workflow_scripts.statistics.run_validation import MIN_RUNS

ALPHA = 0.05
"""Of a single window of layers, after Holm."""
MIDDLE, ABRUPT = 0.5, 0.25
"""Shares of a model's depth: what counts as late, and as abrupt (ours)."""
LEFT = 0.5
"""Share of what a reader knew that may be left of an erasure of which no effect is seen (ours)."""
ABOVE_ZERO = "the 95 % interval over runs lies above 0"
BELOW_ZERO = "the 95 % interval over runs lies below 0"
PREDICTS = "more similar goes with a smaller gap, Q2 > 0, and R2 minus R2 of log(1 + step) > 0 over runs (95 %)"
PREDICTS_BETTER = "the paired interval over runs lies above 0"
GAPS = {"gap": "GAP", "loss_gap": "the loss gap"}


def judge_claims(
    layers: Path,
    checkpoints: Path,
    regression: Path,
    comparisons: Path,
    claims: Path,
    *,
    models: Mapping[str, Mapping[str, Any]],
    words: Path | None = None,
    patching: Path | None = None,
    knockout: Path | None = None,
    edits: Path | None = None,
    probes: Path | None = None,
) -> None:
    """Write claims.csv from the tables of this stage; `models`: a run's `warmup` ("none" or not) and `start`.

    words: word_reading.csv, None for none. patching: patching_profiles.csv, None where states were not exchanged.
    knockout: knockout.csv, None where attention was not read.
    edits: tests.csv, None where the grid erases nothing.
    probes: probes.csv, None where states were not probed.
    """
    by_layer = _of_runs(read_table(layers, "layers"), models)
    points = _of_runs(read_table(checkpoints, "checkpoints"), models)
    rows = [*depth_claims(by_layer), *training_claims(points), *monotonicity_claims(points)]
    rows += regression_claims(read_table(regression, "regression"), read_table(comparisons, "comparisons"))
    cold = [name for name, facts in models.items() if facts["warmup"] == "none"]
    rows += spontaneity_claims(points[points["model"].isin(cold)])
    for path, name, judged in (
        (words, "word_reading", reading_claims),
        (patching, "patching_profiles", fusion_claims),
        (knockout, "knockout", knockout_claims),
        (edits, "tests", erasure_claims),
        (probes, "probes", probe_claims),
    ):
        if path is not None:
            table = read_table(path, name)
            rows += judged(table[table["model"].isin(list(models))])
    write_table(claims, rows, "claims")


def depth_claims(layers: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Spearman of layer 1..L and similarity, last checkpoint of each run."""
    for claim, measure in (
        ("cosine rises with depth", "cosine"),
        ("Euclidean distance rises with depth", "euclidean"),
        ("Euclidean distance rises with depth, lengths divided out", "length_free_distance"),
    ):
        rows = layers[(layers["measure"] == measure) & (layers["layer"] > 0)]
        last = rows[rows["step"] == rows.groupby("model")["step"].transform("max")]
        yield _per_run(claim, measure, "Spearman(layer, value)", last, "layer", +1)


def training_claims(points: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Spearman of training step and similarity within each run."""
    for claim, measure in (
        ("cosine improves with training", "cosine"),
        ("Euclidean distance improves with training", "euclidean"),
    ):
        sign = +1 if MEASURES[measure].higher_is_better else -1
        yield _per_run(claim, measure, "Spearman(step, value)", select(points, measure=measure), "step", sign)


def monotonicity_claims(points: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Monotonicity minus that of unrelated pairs, last checkpoint of each run."""
    for measure in ("monotonicity_cosine", "monotonicity_euclidean"):
        last = select(points, measure=measure).groupby("model").tail(1)
        excess, n = last["value"] - last["null"], int(last["n"].sum())
        yield _judged("paths are monotonic", measure, "value minus null", excess, len(last), n, +1)


def spontaneity_claims(points: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Calibrated APS of the last minus the first checkpoint of runs without warm-up: a warm-up imposes alignment."""
    rows = select(points, measure="path_score_cosine")
    runs = rows.groupby("model")
    rise = runs["calibrated"].agg(lambda own: own.iloc[-1] - own.iloc[0])
    n = int(runs.tail(1)["n"].sum())
    row = _judged(
        "alignment is spontaneous", "path_score_cosine", "rise of calibrated value", rise, _count(rows), n, +1
    )
    yield row | {"note": "runs without warm-up only"}


def fusion_claims(profiles: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Where the states of the written question, put into the spoken run, restore its answer: single layers, per run."""
    rows = profiles[
        (profiles["kind"] != SPEECH_ONLY) & (profiles["direction"] == TO_SPEECH) & (profiles["window"] == 1)
    ]
    last, template = (select(rows, positions=name).set_index("model") for name in ("last", "template"))
    depth, n = last["depth"].astype(np.float64), int(last["n"].sum())
    late = last["first_half"].astype(np.float64) / depth - MIDDLE
    abrupt = ABRUPT - last["width"]
    alone = (last["mean_share"] - template["mean_share"]).dropna()
    for claim, statistic, own in (
        (
            "speech becomes text late",
            "first layer that restores half at the last position, share of depth, - 0.5",
            late,
        ),
        ("speech becomes text abruptly", "0.25 - share of depth from a quarter to three quarters restored", abrupt),
        ("the last position is the bottleneck", "mean over layers of the share restored, - that of template", alone),
    ):
        yield _judged(claim, "patching", statistic, own, len(last), n, +1)


def knockout_claims(knockout: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What it costs that answers cannot attend to the speech, at all layers at once, beyond as many other positions.

    No window is chosen for the verdict; the note says in which single windows a run loses more than by the control.
    """
    rows = select(knockout, form=SPEECH)
    rows = rows[(rows["kind"] != SPEECH_ONLY) & (rows["n"] > 0)]
    everywhere = (rows["window"] == rows["depth"]).to_numpy(dtype=bool)
    whole, single = rows[everywhere], rows[~everywhere]
    statistic = "change of the outcome with the speech hidden from the answer at all layers, - that of the control"
    row = _judged(
        "answers read the speech directly",
        "knockout",
        statistic,
        whole["difference"],
        len(whole),
        int(whole["n"].sum()),
        -1,
    )
    lost = single[(single["p_holm"] < ALPHA) & (single["difference"] < 0)]
    spans = {
        model: ", ".join(f"{one.layer} to {one.layer + one.window - 1}" for one in own.itertuples())
        for model, own in lost.groupby("model")
    }
    found = "; ".join(f"{model}: layers {span}" for model, span in spans.items())
    yield row | {"note": f"single windows beyond the control (Holm, p < {ALPHA}): {found or 'none'}"}


def erasure_claims(tests: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """What the answer loses with the words' vectors, beside a random subspace of that rank and size, over all erasures.

    Where no loss is seen and more than `LEFT` of what a linear reader knew is still there, nothing was tested.
    """
    controls = set(select(tests, control=RANDOM_SUBSPACE)["edit"])
    rows = select(tests, kind="edit", operation=ERASE)
    rows = rows[rows["against"].isin(controls) & (rows["edited_mean"] > 0)]
    runs = rows.groupby("model")
    cost, n = runs["nll_change"].mean(), int(runs["n"].max().sum())
    statistic = "loss of the reference under erasure minus that under a random subspace, nats per token"
    claim = "the answer needs the words' vectors in the speech vectors"
    row = _judged(claim, ERASE, statistic, cost, len(cost), n, +1)
    before, after = rows["r2_before"].mean(), rows["r2_after"].mean()
    if row["verdict"] == "not supported" and not after <= LEFT * before:
        row["verdict"] = "underpowered"
    if len(cost):
        row["note"] = f"R2 of a linear reader of the words {before:.3f} before, {after:.3f} after"
    yield row | {"rule": f"{ABOVE_ZERO}; underpowered if not, and more than half of that R2 is left"}


def reading_claims(words: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Words under the logit lens while they are spoken, last checkpoint of each run, mean over the layers above 0."""
    rows = select(words, measure="recall", offset=0.0)
    rows = last_checkpoints(rows[rows["layer"] > 0])
    statistic = "recall at 10 minus that of another question's words, mean over layers"
    for claim, target in (
        ("a word is written down while it is spoken", OWN),
        ("the next word is written down while a word is spoken", NEXT),
    ):
        runs = select(rows, target=target).assign(excess=lambda own: own["value"] - own["null"]).groupby("model")
        excess, n = runs["excess"].mean(), int(runs["n"].max().sum())
        yield _judged(claim, "logit lens", statistic, excess, len(excess), n, +1)


def probe_claims(probes: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Words in speech, told by a probe that has only seen text, last checkpoint of each run, above the embeddings.

    A layer counts where the selectivity's interval lies above 0 and p is below ALPHA; from the top down, all layers
    count to the first one that does not.
    """
    rows = select(probes, target="word", fitted=TEXT, asked=SPEECH)
    runs = {model: own.sort_values("layer") for model, own in rows[rows["layer"] > 0].groupby("model")}
    sure = {model: ((own["selectivity_low"] > 0) & (own["p"] < ALPHA)).to_numpy() for model, own in runs.items()}
    top = pd.Series({model: np.logical_and.accumulate(one[::-1]).mean() for model, one in sure.items()}, dtype=float)
    mean = pd.Series({model: own["selectivity"].mean() for model, own in runs.items()}, dtype=float)
    n = sum(int(own["n"].max()) for own in runs.values())
    first = [
        f"{model} from layer {own['layer'].iloc[-round(top[model] * len(own))]}" if top[model] else f"{model} nowhere"
        for model, own in runs.items()
    ]
    for claim, statistic, own in (
        ("a probe of written words reads spoken ones", "selectivity, mean over layers", mean),
        (
            "a probe of written words reads spoken ones up to the last layer",
            "share of layers, from the last one down without a gap, with selectivity above 0 and p < .05",
            top,
        ),
    ):
        row = _judged(claim, "probe", statistic, own, len(own), n, +1)
        notes = [row["note"]] if "note" in row else []
        yield row | {"note": "; ".join(notes + first * (own is top))}


def regression_claims(regression: pd.DataFrame, comparisons: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Similarity and APS predict the gap, and APS predicts it better, over all checkpoints."""
    fits = select(regression, pool="pooled").set_index(["outcome", "predictor"])
    pairs = comparisons.set_index(["outcome", "first", "second"])
    calibrated = [name for name in predictors() if name.endswith(CALIBRATED)]
    claimed = [*(name.removesuffix(CALIBRATED) for name in calibrated), *calibrated]
    for outcome in OUTCOMES:
        for name in claimed:
            if (outcome, name) in fits.index:
                key = (outcome, name, LOG_STEP)
                yield _predicts(name, outcome, fits.loc[outcome, name], pairs.loc[key] if key in pairs.index else None)
        for key in ((outcome, *pair) for pair in PAPER_PAIRS):
            if key in pairs.index:
                yield _predicts_better(key, pairs.loc[key])


def _predicts(name: str, outcome: str, fit: pd.Series, rival: pd.Series | None) -> dict[str, Any]:
    """Q2 above 0, the paper's sign, and better than training time alone."""
    measure = MEASURES[name.removesuffix(CALIBRATED)]
    what = "similarity" if measure.level == "pair" else "APS"
    row = {
        "claim": f"{what} predicts {GAPS[outcome]}",
        "outcome": outcome,
        "measure": name,
        "statistic": "R2",
        "estimate": fit["r2"],
        "low": fit["r2_runs_low"],
        "high": fit["r2_runs_high"],
        "n_runs": fit["n_runs"],
        "n_checkpoints": fit["n_checkpoints"],
        "rule": PREDICTS,
    }
    slope, q2, advantage = fit["slope"], fit["q2"], np.nan if rival is None else rival["r2_difference_low"]
    if fit["n_runs"] < MIN_RUNS or np.isnan([slope, q2, advantage]).any():
        return row | {"verdict": "underpowered"}
    expected = slope < 0 if measure.higher_is_better else slope > 0
    holds = expected and q2 > 0 and advantage > 0
    # The interval says whether "not supported" is a finding or runs too few to tell.
    difference, high = rival["r2_difference"], rival["r2_difference_high"]
    note = f"Q2 {q2:.3f}; R2 minus that of training time {difference:.3f} [{advantage:.3f}, {high:.3f}]"
    return row | {"verdict": "supported" if holds else "not supported", "note": note}


def _predicts_better(key: tuple[str, str, str], pair: pd.Series) -> dict[str, Any]:
    outcome, first, second = key
    low = pair["r2_difference_low"]
    row = {
        "claim": f"APS predicts {GAPS[outcome]} better than similarity",
        "outcome": outcome,
        "measure": first,
        "statistic": f"R2 minus R2 of {second}",
        "estimate": pair["r2_difference"],
        "low": low,
        "high": pair["r2_difference_high"],
        "n_runs": pair["n_runs"],
        "n_checkpoints": pair["n_checkpoints"],
        "rule": PREDICTS_BETTER,
    }
    if pair["n_runs"] < MIN_RUNS or np.isnan(low):
        return row | {"verdict": "underpowered"}
    return row | {"verdict": "supported" if low > 0 else "not supported"}


def _per_run(claim: str, measure: str, statistic: str, rows: pd.DataFrame, x: str, sign: int) -> dict[str, Any]:
    """Spearman of `x` and the value within each run; n is that of the questions behind a value, summed over runs."""
    runs = dict(list(rows.groupby("model")))
    own = pd.Series({run: _spearman(one[x], one["value"]) for run, one in runs.items()}, dtype=np.float64)
    n = sum(int(one["n"].max()) for one in runs.values())
    return _judged(claim, measure, statistic, own, _count(rows), n, sign)


def _count(rows: pd.DataFrame) -> int:
    """Checkpoints, an untrained start that runs share once."""
    return len(without_repeated_starts(rows.drop_duplicates(["model", "checkpoint"])))


def _judged(
    claim: str, measure: str, statistic: str, own: pd.Series, n_checkpoints: int, n: int, sign: int
) -> dict[str, Any]:
    """Mean over runs with a t interval; supported if it lies on the claimed side of 0."""
    values = own.to_numpy(dtype=np.float64)
    values = values[~np.isnan(values)]
    row: dict[str, Any] = {"claim": claim, "measure": measure, "statistic": statistic, "n_runs": len(values)}
    row |= {"n_checkpoints": n_checkpoints, "n": n, "rule": ABOVE_ZERO if sign > 0 else BELOW_ZERO}
    if len(values):
        row["estimate"] = float(values.mean())
    if len(values) < MIN_RUNS:
        return row | {"verdict": "underpowered"}
    low, high = student_interval(values)
    if np.isnan(low):
        holds = values[0] > 0 if sign > 0 else values[0] < 0
        note = f"{len(values)} runs of one value: no interval"
        return row | {"verdict": "supported" if holds else "not supported", "note": note}
    holds = low > 0 if sign > 0 else high < 0
    return row | {"low": low, "high": high, "verdict": "supported" if holds else "not supported"}


def _spearman(x: pd.Series, y: pd.Series) -> float:
    """NaN for fewer than four defined points or a constant."""
    pairs = np.column_stack([x.to_numpy(dtype=np.float64), y.to_numpy(dtype=np.float64)])
    pairs = pairs[~np.isnan(pairs).any(axis=1)]
    if len(pairs) < 4 or np.ptp(pairs, axis=0).min() == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(pairs[:, 0]), rankdata(pairs[:, 1]))[0, 1])


def _of_runs(table: pd.DataFrame, models: Mapping[str, Any]) -> pd.DataFrame:
    """Rows of subset `all` of training runs, by step, with their `start`."""
    rows = select(table, subset=ALL)
    rows = rows[rows["model"].isin(list(models)) & rows["step"].notna()].sort_values("step", kind="stable")
    return rows.assign(start=rows["model"].map({name: facts["start"] for name, facts in models.items()}))


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: judge_claims(
            *(Path(s.input[name]) for name in ("layers", "checkpoints", "regression", "comparisons")),
            Path(s.output.claims),
            models=s.params.models,
            words=Path(s.input.words),
            patching=Path(s.input.patching[0]) if s.input.patching else None,
            knockout=Path(s.input.knockout[0]) if s.input.knockout else None,
            edits=Path(s.input.edits[0]) if s.input.edits else None,
            probes=Path(s.input.probes[0]) if s.input.probes else None,
        ),
    )
