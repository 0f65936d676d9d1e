"""Made-up tables of a small study on disk: every one that figures and report read, with plausible shapes.

The numbers follow a simple story: speech catches up with text over training, similarity grows with log(1 + step).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.tables import TABLES, write_table
from workflow_scripts.correlation.build_alignment_table import CHECKPOINT_COLUMNS, LAYER_COLUMNS
from workflow_scripts.correlation.build_response_table import COLUMNS as RESPONSE_COLUMNS
from workflow_scripts.correlation.build_response_table import LENS_COLUMNS, POSITION_COLUMNS
from workflow_scripts.correlation.chance_rows import CKA_COLUMNS
from workflow_scripts.correlation.judge_claims import judge_claims
from workflow_scripts.correlation.regress_gap import regress_gap
from workflow_scripts.evaluation.build_gap_table import DIFFERENCES, REFERENCES

STEPS = (0, 20, 50, 90, 140, 200)
SUBSETS = ("advbench", "ifeval541", "mmlu", "nq", "obqa", "repeat")
FORMS = ("text", "speech", "asr")
BACKBONE = "smol"
EDITS = ("angle_all", "angle_bottom3", "length_all", "length_bottom3")
CONTROLS = ("random_direction", "other_token", "other_question", "random_frames")
SWEPT_LAYERS = (5, 10, 15, 20, 25)
SENTENCE = "who was the first person to walk on the moon and what did they say first"


@dataclass
class Made:
    """Paths of the made-up study and the settings that go with it."""

    folder: Path
    models: tuple[str, ...]
    subsets: tuple[str, ...] = SUBSETS
    facts: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, model in enumerate(self.models):
            strategy = ("lora", "full")[number % 2]
            self.facts[model] = {"strategy": strategy, "backbone": BACKBONE, "warmup": "ctc"}

    def table(self, name: str) -> Path:
        """Path of the CSV table `name`."""
        return self.folder / f"{name}.csv"

    @property
    def curves(self) -> list[Path]:
        """Training logs in the order of `models`."""
        return [self.folder / "training" / model / "log.csv" for model in self.models]

    @property
    def display(self) -> dict[str, Any]:
        """Display settings with a label for the first model only."""
        return {"title": "A made study", "models": {self.models[0]: {"label": "First model", "color": "#0072B2"}}}


def write_made_tables(
    folder: Path, models: Sequence[str] = ("lora", "full"), seed: int = 1, texts: Mapping[str, str] | None = None
) -> Made:
    """Write gap, decline, layers, checkpoints, points, regression, tests, cases and the training logs.

    Args:
        texts: replaces `prompt`, `reference` and `answer` of the cases.
    """
    made = Made(folder, tuple(models))
    rng = np.random.default_rng(seed)
    _write_wide(made.table("gap"), _gap_rows(made, rng))
    _write_wide(made.table("decline"), _decline_rows(made, rng))
    _write_wide(made.table("cascade"), _cascade_rows(made))
    write_table(made.table("twins"), [], "twins")
    write_table(made.table("layers"), [*_layer_rows(made)], LAYER_COLUMNS)
    write_table(made.table("checkpoints"), [*_checkpoint_rows(made, rng)], CHECKPOINT_COLUMNS)
    write_table(made.table("cka"), [*_cka_rows(made)], CKA_COLUMNS)
    write_table(made.table("responses"), [*_response_rows(made, rng)], RESPONSE_COLUMNS)
    write_table(made.table("response_positions"), [*_position_rows(made)], POSITION_COLUMNS)
    write_table(made.table("lens"), [*_lens_rows(made)], LENS_COLUMNS)
    write_table(made.table("tests"), [*_test_rows(made, rng)], list(TABLES["tests"]))
    write_table(made.table("cases"), [*_case_rows(made, texts or {})], list(TABLES["cases"]))
    regress_gap(
        *(made.table(name) for name in ("gap", "checkpoints", "points", "regression", "comparisons")),
        models=made.facts,
        draws=20,
        seed=0,
        responses=made.table("responses"),
    )
    tables = [made.table(name) for name in ("layers", "checkpoints", "regression", "comparisons", "claims")]
    judge_claims(*tables, models=made.facts)
    for path in made.curves:
        write_table(path, [*_curve_rows(rng)], "training_log")
    return made


def _write_wide(path: Path, rows: Any) -> None:
    """Until report and figures read the long tables: every column that a row has."""
    rows = list(rows)
    write_table(path, rows, list(dict.fromkeys(name for row in rows for name in row)))


def _around(name: str, value: float, half: float) -> dict[str, float]:
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _gap_rows(made: Made, rng: np.random.Generator):
    for model in (*made.models, BACKBONE):
        base = model == BACKBONE
        for step in (None,) if base else STEPS:
            learnt = 0.0 if base else math.log1p(step) / math.log1p(STEPS[-1])
            for subset in ("overall", "knowledge", *made.subsets):
                text = 40 + rng.normal(0, 2)
                speech = text - 30 * (1 - learnt) - 3 + rng.normal(0, 1)
                row: dict[str, Any] = {"model": model, "subset": subset, "n": 156 if subset == "overall" else 24}
                row |= {"checkpoint": "base" if base else f"step-{step:06d}", "step": step}
                row |= _around("text", text, 6) | _around("asr", text - 4, 6)
                row |= {"unparsed_text": 0.02, "unparsed_asr": 0.03, "nll_text": 2.0, "nll_asr": 2.2}
                if not base:
                    row |= _around("speech", speech, 6) | _around("gap", text - speech, 5)
                    row |= _around("loss_gap", 1.5 - learnt, 0.2) | {"n_loss": 81}
                    row |= {"unparsed_speech": 0.1, "nll_speech": 3.5 - learnt}
                if subset in ("mmlu", "obqa", "overall", "knowledge"):
                    row |= {"chance": None if subset in ("overall", "knowledge") else 25.0, "n_options": 24}
                    for of in ("text", "asr") if base else (*FORMS, "gap"):
                        for name in ("corrected", "letter_accuracy", "option_accuracy"):
                            row |= _around(f"{name}_{of}", 30.0, 5)
                        row |= _around(f"letter_margin_{of}", 0.5, 0.25) | _around(f"outside_mass_{of}", 0.25, 0.1)
                if subset == "repeat":
                    row |= {"wer_text": 4.0, "wer_asr": 9.0} | ({} if base else {"wer_speech": 120 - 90 * learnt})
                yield row


def _decline_rows(made: Made, rng: np.random.Generator):
    for model in made.models:
        for step in STEPS:
            for subset in ("overall", "knowledge", *made.subsets):
                base_text = 45 + rng.normal(0, 5)
                row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
                row |= {"subset": subset, "n": 156 if subset == "overall" else 24}
                row |= {"base_text": base_text, "base_asr": base_text - 5, "tuned_text": base_text - 4}
                row |= {"tuned_asr": base_text - 8, "tuned_speech": base_text - 11 - rng.uniform(0, 5)}
                for name in REFERENCES:
                    row |= _around(name, row[name], 5)
                for name, (higher, lower) in DIFFERENCES.items():
                    row |= _around(name, row[higher] - row[lower], 4)
                yield row


def _cascade_rows(made: Made):
    for model in made.models:
        for step in STEPS:
            for cascade in ("tuned_asr", "base_asr"):
                for subset in ("all", "mmlu", "nq"):
                    row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
                    row |= {"subset": subset, "cascade": cascade, "n": 156, "success_speech": 20, "success_cascade": 30}
                    row |= _around("agreement", 0.75, 0.1) | _around("kappa", 0.4, 0.1)
                    row |= _around("error_overlap", 0.8, 0.05) | {"error_overlap_chance": 0.6, "n_both_wrong": 99}
                    yield row | (
                        {"n_both_wrong_letters": 9} | _around("same_wrong", 0.5, 0.2) if subset != "nq" else {}
                    )


def _layer_rows(made: Made):
    for model in made.models:
        for step in STEPS:
            for subset in ("all", "nq"):
                for metric in ("cosine", "euclidean"):
                    for layer in range(31):
                        level = 0.2 + 0.015 * layer + 0.05 * math.log1p(step)
                        value = level if metric == "cosine" else 5 + layer**1.5 * (1.2 - level / 4)
                        row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
                        row |= {"subset": subset, "layer": layer, "metric": metric, "n": 156, "similarity": value}
                        row |= {"similarity_null": 0.8 * value, "similarity_null_sd": 0.05 * value}
                        row |= {"similarity_centred": value / 2, "similarity_centred_null": 0.01 * layer}
                        row |= {"length_free": 1.2 - level / 2, "length_free_null": 1.3}
                        yield row | {"norm_ratio": 0.1 + 0.01 * layer}


def _checkpoint_rows(made: Made, rng: np.random.Generator):
    for model in made.models:
        for step in STEPS:
            for subset in ("all", "nq"):
                learnt = math.log1p(step) / math.log1p(STEPS[-1])
                row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step, "n": 156}
                row |= {"subset": subset, "monotonicity_skipped": 3}
                for name in ("sim", "aps"):
                    row |= {f"{name}_cosine": 0.4 + 0.3 * learnt + rng.normal(0, 0.01), f"{name}_cosine_null": 0.35}
                    row |= {f"{name}_cosine_calibrated": 0.05 + 0.3 * learnt, f"{name}_euclidean": 60 - 10 * learnt}
                    row |= {f"{name}_euclidean_null": 65.0, f"{name}_euclidean_calibrated": 0.95 - 0.15 * learnt}
                for metric in ("cosine", "euclidean"):
                    row |= {f"monotonicity_{metric}": 0.3 + 0.4 * learnt, f"monotonicity_{metric}_null": 0.12}
                row |= {"cka": 0.2 + 0.4 * learnt + rng.normal(0, 0.02), "mutual_knn": 0.3 + 0.2 * learnt}
                row |= {
                    "sim_cosine_centred": 0.1 + 0.3 * learnt + rng.normal(0, 0.03),
                    "sim_length_free": 1 - learnt / 4,
                }
                row |= {"aps_cosine_centred": 0.2 + 0.2 * learnt, "monotone_score": 0.3 + 0.2 * learnt}
                row |= {"time_error_ms_cosine": 900 - 300 * learnt, "time_error_ms_uniform": 1100.0, "timed_n": 156}
                row |= {"time_error_ms_proportional": 250.0, "hit_rate_cosine": 0.2 + 0.3 * learnt}
                yield row | {"consistency": 0.4 + 0.2 * learnt, "consistency_null": 0.33}


def _cka_rows(made: Made):
    for model in made.models:
        for step in STEPS:
            for s in range(7):
                for t in range(7):
                    row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
                    row |= {"subset": "all", "speech_layer": s, "text_layer": t, "n": 156}
                    row["cka"] = (0.1 + 0.6 * math.log1p(step) / math.log1p(STEPS[-1])) * math.exp(-abs(s - t) / 3)
                    yield row | ({"null": 0.01, "null_sd": 0.03, "p": 0.01} if s == t else {})


def _response_rows(made: Made, rng: np.random.Generator):
    for model in made.models:
        for step in STEPS:
            learnt = math.log1p(step) / math.log1p(STEPS[-1])
            row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step, "n": 24}
            row |= {f"kl_{kind}_text": 4 - 3 * learnt + rng.normal(0, 0.1) for kind in ("forward", "reverse")}
            row |= {"kl_forgetting": 0.3 * learnt, "response_cosine": 0.6 + 0.3 * learnt}
            yield row | {"response_cosine_null": 0.5}


def _lens_rows(made: Made):
    for model in made.models:
        for step in (STEPS[0], STEPS[-1]):
            for layer in range(0, 31, 6):
                row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step, "layer": layer}
                difference = (0.1 + 0.1 * bool(step)) * layer / 30
                row |= {"n": 12, "recall": 0.2 + difference, "control": 0.2, "difference": difference}
                yield row | {"difference_low": difference - 0.05, "difference_high": difference + 0.05}


def _position_rows(made: Made):
    for model in made.models:
        for step in STEPS:
            for kind in ("forward", "reverse"):
                for position in range(12):
                    row: dict[str, Any] = {"model": model, "checkpoint": f"step-{step:06d}", "step": step}
                    row |= {"measure": kind, "prefix": "text", "position": position, "n": 24}
                    mean = (5 - math.log1p(step) / 2) * math.exp(-position / 5)
                    yield row | {"mean": mean, "p80": 1.5 * mean, "p95": 3 * mean}


def _test_rows(made: Made, rng: np.random.Generator):
    """Angle edits gain a little, their controls and length edits lose a little; the sweep fades with depth."""
    for model in made.models:
        cells = [
            ("no_op", "check", None, 0),
            ("text", "ceiling", None, None),
            ("oracle_transcript", "ceiling", None, None),
        ]
        cells += [(edit, "edit", None, 0) for edit in EDITS]
        cells += [(f"{edit}_{control}", "control", edit, 0) for edit in EDITS for control in CONTROLS]
        for layer in SWEPT_LAYERS:
            cells.append((f"sweep@{layer}", "edit", None, layer))
            cells.append((f"sweep_random_direction@{layer}", "control", f"sweep@{layer}", layer))
        controls = {key: [name for name, _, of, _ in cells if of == key] for key, *_ in cells}
        for key, kind, of, layer in cells:
            for against in ("none", *controls[key]):
                row: dict[str, Any] = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "subset": "nq"}
                row |= {"edit": key, "against": against, "kind": kind, "name": key.partition("@")[0], "of": of}
                bottom = "bottom3" in key
                row |= {"operation": "length" if key.startswith("length") else "angle", "path": "vote"}
                row |= {"selection": "bottom" if bottom else "all", "k": 3 if bottom else None}
                row |= {"layer": layer, "swept": "@" in key}
                row |= {"control": key.removeprefix(f"{of}_").partition("@")[0] if of else None}
                yield row | _made_comparison(row, rng)


def _made_comparison(row: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    key, kind, swept = row["edit"], row["kind"], row["swept"]
    strength = 0.0 if kind == "check" else 12.0 if kind == "ceiling" else -2.0 if kind == "control" else 5.0
    strength *= math.exp(-row["layer"] / 15) if swept else 1.0
    strength *= -0.4 if key.startswith("length") else 1.0
    c = 0 if kind == "check" else int(rng.integers(1, 5))
    b = max(0, c + round(strength + (rng.normal(0, 1) if strength else 0)))
    found: dict[str, Any] = {"n": 60, "score": 12.0 + (b - c) / 0.6, "score_against": 12.0, "b": b, "c": c}
    found |= {"net": b - c} | _around("difference", (b - c) / 0.6, 5) | {"p": 0.4, "detectable": 13.2}
    found |= _around("nll_change", -0.05 * strength, 0.1 if strength else 0.0) | {"nll_per_token": 3.0, "kl_first": 2.0}
    found |= _around("kl_change", -0.1 * strength, 0.2 if strength else 0.0)
    found |= {"edited_mean": 3.0, "shift_mean": 0.5, "log_norm_ratio": -0.2, "unedited": 0, "exhausted": 2}
    found |= {"changed_answers": b + c}
    if kind == "edit":
        found["p_holm"] = 1.0
        if row["against"] == "none":
            found["verdict"] = "underpowered" if b + c < 6 else "no evidence"
    return found


def _case_rows(made: Made, texts: Mapping[str, str]):
    for model in made.models:
        for change, question in (("gained", "nq-0003"), ("lost", "nq-0007")):
            for place, given in enumerate(("text", "speech", *EDITS)):
                right = (place % 2 == 0) == (change == "gained")
                row: dict[str, Any] = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "subset": "nq"}
                row |= {"change": change, "cases": 4, "id": question, "input": given, "right": right}
                row |= {
                    "question": texts.get("prompt", SENTENCE),
                    "reference": texts.get("reference", "Neil Armstrong"),
                }
                row |= {"answer": texts.get("answer", "Neil Armstrong" if right else "a man of the moon")}
                yield row | {"decided": given in EDITS and right == (change == "gained")}


def _curve_rows(rng: np.random.Generator):
    for step in range(0, STEPS[-1] + 1, 10):
        loss = 2 + 3 * math.exp(-step / 60) + rng.normal(0, 0.03)
        yield {"step": step, "split": "train", "form": "all", "loss_per_token": loss, "n_samples": 160, "seconds": step}
        for form, extra in (("speech", 0.6), ("text", 0.0)):
            row = {"step": step, "split": "heldout", "form": form, "loss_per_token": loss + extra, "n_samples": 96}
            yield row | {"n_tokens": 2000, "learning_rate": 1e-4, "seconds": 2.0 * step}
