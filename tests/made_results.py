"""Made-up tables of a small study on disk: every one that figures and report read, with plausible shapes.

The numbers follow a simple story: speech catches up with text over training, similarity grows with log(1 + step).
Columns and types are those of `artifacts.tables`.
"""

import functools
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from tests.made_patching import attention_rows, knockout_rows, patching_rows, profile_rows
from tests.made_probes import probe_rows
from workflow_scripts.artifacts.tables import write_table
from workflow_scripts.correlation.judge_claims import judge_claims
from workflow_scripts.correlation.regress_gap import regress_gap
from workflow_scripts.evaluation.build_gap_table import DIFFERENCES, REFERENCES
from workflow_scripts.measures.registry import MEASURES
from workflow_scripts.measures.word_reading import NEXT, OWN

STEPS = (0, 20, 50, 90, 140, 200)
SUBSETS = ("advbench", "ifeval541", "mmlu", "nq", "obqa", "repeat")
FORMS = ("text", "speech", "asr")
BACKBONE = "smol"
EDITS = ("angle_all", "angle_bottom3", "length_all", "length_bottom3")
CONTROLS = ("random_direction", "other_token", "other_question", "random_frames")
SWEPT_LAYERS = (5, 10, 15, 20, 25)
SENTENCE = "who was the first person to walk on the moon and what did they say first"
Row = dict[str, Any]


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
            self.facts[model] = {"strategy": strategy, "backbone": BACKBONE, "warmup": "ctc"} | {"start": model}

    def table(self, name: str) -> Path:
        """Path of the CSV table `name`."""
        return self.folder / f"{name}.csv"

    @property
    def logs(self) -> list[Path]:
        """Training logs in the order of `models`."""
        return [self.folder / "training" / model / "log.csv" for model in self.models]

    @property
    def display(self) -> dict[str, Any]:
        """Display settings with a label for the first model only."""
        return {"title": "A made study", "models": {self.models[0]: {"label": "First model", "color": "#0072B2"}}}


def write_made_tables(
    folder: Path, models: Sequence[str] = ("lora", "full"), texts: Mapping[str, str] | None = None
) -> Made:
    """Write every table that figures and report read, and the training logs.

    Args:
        texts: replaces `prompt`, `reference` and `answer` of the cases.
    """
    made = Made(folder, tuple(models))
    for name, content in _tables(made.models).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    write_table(made.table("cases"), [*_case_rows(made, texts or {})], "cases")
    return made


@functools.cache
def _tables(models: tuple[str, ...]) -> dict[str, bytes]:
    """Contents of the files by name, made once for each set of models: regressions take a second."""
    with tempfile.TemporaryDirectory() as folder:
        made, rng = Made(Path(folder), models), np.random.default_rng(1)
        rows = {
            "gap": _gap_rows(made, rng),
            "decline": _decline_rows(made, rng),
            "cascade": _cascade_rows(made),
            "twins": (),
            "conditions": _condition_rows(made),
            "tags": _tag_rows(made),
            "floors": _floor_rows(made),
            "layers": _layer_rows(made),
            "checkpoints": _checkpoint_rows(made, rng),
            "cka": _cka_rows(made),
            "responses": _response_rows(made, rng),
            "response_positions": _position_rows(made),
            "lens": _lens_rows(made),
            "word_reading": _word_rows(made),
            "tests": _test_rows(made, rng),
            "patching": patching_rows(made.models, STEPS[-1]),
            "patching_profiles": profile_rows(made.models, STEPS[-1]),
            "attention": attention_rows(made.models, STEPS[-1]),
            "knockout": knockout_rows(made.models, STEPS[-1]),
            "probes": probe_rows(made.models, STEPS[-1]),
            "sensitivity": _sensitivity_rows(),
        }
        for name, made_rows in rows.items():
            write_table(made.table(name), [*made_rows], name)
        regress_gap(
            *(made.table(name) for name in ("gap", "checkpoints", "points", "regression", "comparisons")),
            models=made.facts,
            responses=made.table("responses"),
        )
        tables = [made.table(name) for name in ("layers", "checkpoints", "regression", "comparisons", "claims")]
        judge_claims(
            *tables,
            models=made.facts,
            words=made.table("word_reading"),
            patching=made.table("patching_profiles"),
            knockout=made.table("knockout"),
            probes=made.table("probes"),
        )
        for path in made.logs:
            write_table(path, [*_log_rows(rng)], "training_log")
        return {str(path.relative_to(folder)): path.read_bytes() for path in made.folder.rglob("*.csv")}


def checkpoints_of(made: Made) -> Iterator[Row]:
    """The columns model, checkpoint and step of every checkpoint."""
    for model in made.models:
        for step in STEPS:
            yield {"model": model, "checkpoint": f"step-{step:06d}", "step": step}


def learnt(step: int | None) -> float:
    """How far training is, 0 to 1."""
    return math.log1p(step or 0) / math.log1p(STEPS[-1])


def around(value: float, half: float) -> Row:
    """A value and its interval."""
    return {"value": value, "low": value - half, "high": value + half}


def _gap_rows(made: Made, rng: np.random.Generator) -> Iterator[Row]:
    base = {"model": BACKBONE, "checkpoint": "base", "step": None}
    for key in [*checkpoints_of(made), base]:
        forms = ("text", "asr") if key is base else FORMS
        for subset in ("overall", "knowledge", *made.subsets):
            text = 40 + rng.normal(0, 2)
            scores = {"text": text, "asr": text - 4, "speech": text - 33 + 30 * learnt(key["step"]) + rng.normal(0, 1)}
            row = key | {"subset": subset, "n": 156 if subset == "overall" else 24}
            chance = {"null": 25.0} if subset in ("mmlu", "obqa") else {}
            for form in forms:
                yield row | {"form": form, "measure": "score"} | around(scores[form], 6) | chance
                yield row | {"form": form, "measure": "unparsed", "value": 0.1 if form == "speech" else 0.02}
                shares = {"truncated": 20.0 if form == "speech" else 5.0, "other_language": 2.0, "empty": 1.0}
                for name, share in shares.items():
                    yield row | {"form": form, "measure": f"answers_{name}"} | around(share, 1)
                loss = 3.5 - learnt(key["step"]) if form == "speech" else 2.0
                yield row | {"form": form, "measure": "loss", "value": loss, "n": 81}
                if subset == "repeat":
                    rates = {"text": 4.0, "asr": 9.0, "speech": 120 - 90 * learnt(key["step"])}
                    yield row | {"form": form, "measure": "word_error_rate", "value": rates[form]}
            if key is not base:
                yield row | {"form": "gap", "measure": "score"} | around(scores["text"] - scores["speech"], 5)
                yield row | {"form": "gap", "measure": "loss", "n": 81} | around(1.5 - learnt(key["step"]), 0.2)
            if subset in ("mmlu", "obqa", "overall", "knowledge"):
                for form in forms if key is base else (*forms, "gap"):
                    for name in ("corrected", "letter_accuracy", "option_accuracy"):
                        yield row | {"form": form, "measure": name, "n": 24} | around(30.0, 5)
                    yield row | {"form": form, "measure": "letter_margin", "n": 24} | around(0.5, 0.25)
                    yield row | {"form": form, "measure": "outside_mass", "n": 24} | around(0.25, 0.1)


def _decline_rows(made: Made, rng: np.random.Generator) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for subset in ("overall", "knowledge", *made.subsets):
            text = 45 + rng.normal(0, 5)
            values = dict(zip(REFERENCES, (text, text - 5, text - 4, text - 8, text - 11 - rng.uniform(0, 5))))
            row = key | {"subset": subset, "n": 156 if subset == "overall" else 24}
            for name in REFERENCES:
                yield row | {"measure": name} | around(values[name], 5)
            for name, (higher, lower) in DIFFERENCES.items():
                yield row | {"measure": name} | around(values[higher] - values[lower], 4)


def _cascade_rows(made: Made) -> Iterator[Row]:
    measures = {"success_speech": (20, {}), "success_cascade": (30, {}), "agreement": (0.75, {}), "kappa": (0.4, {})}
    measures |= {"error_overlap": (0.8, {"null": 0.6}), "same_wrong": (0.5, {})}
    for key in checkpoints_of(made):
        for cascade in ("tuned_asr", "base_asr"):
            for subset in ("all", "mmlu", "nq"):
                for name, (value, more) in measures.items():
                    if (name, subset) != ("same_wrong", "nq"):
                        row = key | {"subset": subset, "cascade": cascade, "measure": name, "n": 156}
                        yield row | around(value, 0.1) | more


def _tag_rows(made: Made) -> Iterator[Row]:
    """Of last checkpoints; the rare tag is not tested, and repeating has no loss."""
    for model in made.models:
        for subset, tag in (("nq", "negation"), ("nq", "number"), ("repeat", "negation")):
            for measure, gap in {"score": 20.0, "loss": 0.5}.items():
                if (subset, measure) != ("repeat", "loss"):
                    row = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "step": STEPS[-1], "subset": subset}
                    row |= {"tag": tag, "measure": measure, "n": 12, "n_rest": 28, "rest": gap / 2} | around(gap, 0.25)
                    ends = {"difference": gap / 2, "difference_low": gap / 4, "difference_high": gap}
                    yield row | ({} if tag == "number" else ends | {"p": 0.01, "p_holm": 0.02})


def _floor_rows(made: Made) -> Iterator[Row]:
    """obqa: 60 in speech, 25 in silence, 20 with another question's audio; by letters ten more each."""
    for model in made.models:
        for measure, more in (("score", 0), ("letter_accuracy", 10), ("letter_margin", 0)):
            forms = {"speech": 60, "silence": 25, "other": 20, "above_silence": 35, "above_other": 40}
            for form, value in forms.items():
                row = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "step": STEPS[-1], "subset": "obqa"}
                above = form.startswith("above")
                yield row | {"form": form, "measure": measure, "n": 24} | around(value + more * (not above), 5)


CONDITIONS = ("nq", "nq_babble5", "nq_telephone")


def _condition_rows(made: Made) -> Iterator[Row]:
    """Text 40 and 2 nats; babble costs 20 points and 1 nat, the telephone half of that, and speech 5 points anyway."""
    for key in checkpoints_of(made):
        key = key | {"subset": "nq", "n": 24}
        lost = dict(zip(CONDITIONS, (0.0, 1.0, 0.5)))
        for measure, text, speech, unit in (("score", 40.0, 35.0, -20.0), ("loss", 2.0, 2.5, 1.0)):
            for condition, share in lost.items():
                row = key | {"condition": condition, "voice": f"voice of {condition}", "measure": measure}
                spoken = speech + unit * share
                values = {"text": text, "speech": spoken, "gap": abs(spoken - text), "drop": abs(unit) * share}
                for form, value in values.items():
                    yield row | {"form": form} | around(value, abs(unit) / 10)
            mean = abs(text - speech) + abs(unit) / 2
            yield key | {"condition": "all", "form": "gap", "measure": measure} | around(mean, abs(unit) / 2)


def _layer_rows(made: Made) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for subset in ("all", "nq"):
            for layer in range(31):
                level = 0.2 + 0.015 * layer + 0.05 * math.log1p(key["step"])
                values = {"cosine": level, "euclidean": 5 + layer**1.5 * (1.2 - level / 4)}
                values |= {"cosine_modality": level / 2, "length_free_distance": 1.2 - level / 2}
                values |= {"log_norm_ratio": 0.1 + 0.01 * layer}
                values |= {"mutual_knn": level / 2, "retrieval": level / 3, "cka": level}
                for name, value in values.items():
                    row = key | {"subset": subset, "layer": layer, "measure": name, "n": 156, "value": value}
                    yield row | ({"null": 0.8 * value, "null_sd": 0.05 * value} if MEASURES[name].has_null else {})


def _checkpoint_rows(made: Made, rng: np.random.Generator) -> Iterator[Row]:
    for key in checkpoints_of(made):
        x = learnt(key["step"])
        special = {"euclidean": (60 - 10 * x, 65.0), "path_score_euclidean": (60 - 10 * x, 65.0)}
        special |= {"cosine": (0.4 + 0.3 * x + rng.normal(0, 0.01), 0.35)}
        special |= {"monotonicity_cosine": (0.3 + 0.4 * x, 0.12), "monotonicity_euclidean": (0.3 + 0.4 * x, 0.12)}
        special |= {"time_error_ms_cosine": (900 - 300 * x, None), "time_error_ms_uniform": (1100.0, None)}
        special |= {"time_error_ms_proportional": (250.0, None), "consistency": (0.4 + 0.2 * x, 0.33)}
        for subset in ("all", "nq"):
            for name, measure in MEASURES.items():
                value, null = special.get(name, (0.2 + 0.3 * x + rng.normal(0, 0.02), 0.15))
                row = key | {"subset": subset, "measure": name, "value": value, "n": 156}
                more = {"null": null, "calibrated": 0.05 + 0.3 * x, "p": 0.01, "draws": 99} if measure.has_null else {}
                more |= {"tau": 0.2, "above_tau": 0.3} if measure.has_null else {}
                yield row | more


def _cka_rows(made: Made) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for s in range(7):
            for t in range(7):
                row = key | {"subset": "all", "speech_layer": s, "text_layer": t, "n": 156}
                row["cka"] = (0.1 + 0.6 * learnt(key["step"])) * math.exp(-abs(s - t) / 3)
                yield row | ({"null": 0.01, "null_sd": 0.03, "p": 0.01} if s == t else {})


def _response_rows(made: Made, rng: np.random.Generator) -> Iterator[Row]:
    for key in checkpoints_of(made):
        x = learnt(key["step"])
        row = key | {f"kl_{kind}_text": 4 - 3 * x + rng.normal(0, 0.1) for kind in ("forward", "reverse")}
        yield row | {"n": 24, "kl_forgetting": 0.3 * x, "response_cosine": 0.6 + 0.3 * x, "response_cosine_null": 0.5}


def _lens_rows(made: Made) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for layer in range(0, 31, 6) if key["step"] in (STEPS[0], STEPS[-1]) else ():
            gain = (0.1 + 0.1 * bool(key["step"])) * layer / 30
            row = key | {"layer": layer, "n": 12, "recall": 0.2 + gain, "control": 0.2, "difference": gain}
            yield row | {"difference_low": gain - 0.05, "difference_high": gain + 0.05}


def _word_rows(made: Made) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for layer, offset in (
            product(range(0, 31, 6), (-0.4, -0.1, 0.0, 0.1, 0.4)) if key["step"] in (STEPS[0], STEPS[-1]) else ()
        ):
            for target, peak in ((OWN, 0.1), (NEXT, -0.1)):
                rise = learnt(key["step"]) * layer / 30 * math.exp(-(((offset - peak) / 0.3) ** 2))
                row = key | {"target": target, "layer": layer, "offset": offset, "n": 12, "words": 80, "skipped": 0}
                yield row | {"measure": "recall", "value": 0.1 + 0.5 * rise, "null": 0.1, "null_sd": 0.03, "p": 0.01}
                yield row | {"measure": "log_rank", "value": 2.5 - rise, "null": 2.5, "null_sd": 0.1, "p": 0.01}


def _position_rows(made: Made) -> Iterator[Row]:
    for key in checkpoints_of(made):
        for kind in ("forward", "reverse"):
            for position in range(12):
                mean = (5 - math.log1p(key["step"]) / 2) * math.exp(-position / 5)
                row = key | {"measure": kind, "prefix": "text", "position": position, "n": 24}
                yield row | {"mean": mean, "p80": 1.5 * mean, "p95": 3 * mean}


def _sensitivity_rows() -> Iterator[Row]:
    for reading, default in (("mean", True), ("last layer", False)):
        yield {"score": "APS", "switch": "layers", "reading": reading, "default": default, "value": 0.5, "n_runs": 2}


def _test_rows(made: Made, rng: np.random.Generator) -> Iterator[Row]:
    """Angle edits gain a little, their controls and length edits lose a little; the sweep fades with depth."""
    for model in made.models:
        cells = [("no_op", "check", "", 0), ("text", "ceiling", "", None), ("oracle_transcript", "ceiling", "", None)]
        cells += [(edit, "edit", "", 0) for edit in EDITS]
        cells += [(f"{edit}_{control}", "control", edit, 0) for edit in EDITS for control in CONTROLS]
        for layer in SWEPT_LAYERS:
            cells.append((f"sweep@{layer}", "edit", "", layer))
            cells.append((f"sweep_random_direction@{layer}", "control", f"sweep@{layer}", layer))
        controls = {key: [name for name, _, of, _ in cells if of == key] for key, *_ in cells}
        for key, kind, of, layer in cells:
            for against in ("none", *controls[key]):
                bottom = "bottom3" in key
                row = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "subset": "nq", "edit": key}
                row |= {"against": against, "kind": kind, "name": key.partition("@")[0], "of": of, "path": "vote"}
                row |= {"operation": "length" if key.startswith("length") else "angle"}
                row |= {"selection": "bottom" if bottom else "all", "k": 3 if bottom else None}
                row |= {"layer": layer, "swept": "@" in key}
                row |= {"control": key.removeprefix(f"{of}_").partition("@")[0] if of else ""}
                yield row | _comparison(row, rng)


def _comparison(row: Mapping[str, Any], rng: np.random.Generator) -> Row:
    key, kind = row["edit"], row["kind"]
    strength = {"check": 0.0, "ceiling": 12.0, "control": -2.0, "edit": 5.0}[kind]
    strength *= math.exp(-row["layer"] / 15) if row["swept"] else 1.0
    strength *= -0.4 if key.startswith("length") else 1.0
    c = 0 if kind == "check" else int(rng.integers(1, 5))
    b = max(0, c + round(strength + (rng.normal(0, 1) if strength else 0)))
    found: Row = {"n": 60, "score": 12.0 + (b - c) / 0.6, "score_against": 12.0, "b": b, "c": c, "net": b - c}
    changes = {"difference": ((b - c) / 0.6, 5), "nll_change": (-0.05 * strength, 0.1), "kl_change": (-0.1, 0.2)}
    for name, (value, half) in changes.items():
        found |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    found |= {"p": 0.4, "detectable": 13.2, "nll_per_token": 3.0, "kl_first": 2.0, "edited_mean": 3.0}
    found |= {"shift_mean": 0.5, "log_norm_ratio": -0.2, "unedited": 0, "exhausted": 2, "changed_answers": b + c}
    if kind == "edit":
        found["p_holm"] = 1.0
        if row["against"] == "none":
            found["verdict"] = "underpowered" if b + c < 6 else "no evidence"
    return found


def _case_rows(made: Made, texts: Mapping[str, str]) -> Iterator[Row]:
    for model in made.models:
        for change, question in (("gained", "nq-0003"), ("lost", "nq-0007")):
            for place, given in enumerate(("text", "speech", *EDITS)):
                right = (place % 2 == 0) == (change == "gained")
                row: Row = {"model": model, "checkpoint": f"step-{STEPS[-1]:06d}", "subset": "nq", "right": right}
                row |= {"change": change, "cases": 4, "id": question, "input": given}
                row |= {
                    "question": texts.get("prompt", SENTENCE),
                    "reference": texts.get("reference", "Neil Armstrong"),
                }
                row |= {"answer": texts.get("answer", "Neil Armstrong" if right else "a man of the moon")}
                yield row | {"decided": given in EDITS and right == (change == "gained")}


def _log_rows(rng: np.random.Generator) -> Iterator[Row]:
    for step in range(0, STEPS[-1] + 1, 10):
        loss = 2 + 3 * math.exp(-step / 60) + rng.normal(0, 0.03)
        row: Row = {"step": step, "n_tokens": 2000, "learning_rate": 1e-4, "seconds": 2.0 * step}
        yield row | {"split": "train", "form": "all", "loss_per_token": loss, "n_samples": 160}
        for form, extra in (("speech", 0.6), ("text", 0.0)):
            yield row | {"split": "heldout", "form": form, "loss_per_token": loss + extra, "n_samples": 96}
