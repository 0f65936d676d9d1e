"""The paper's Tables 1, 2, 3, 4 to 7 and 9 from our numbers, as CSV and LaTeX.

Table 1: one subset under the interventions, last checkpoints. Table 2: scores by checkpoint and form, Overall and GAP.
Table 3: the pipeline of ASR and untuned backbone. Tables 4 to 7: single questions, chosen by rule. Table 9: alignment
statistics of the last checkpoints. Ours: every edit of Table 1 beside its controls, and `score_tables`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_scripts.artifacts.tables import read_table, write_table
from workflow_scripts.report.captions import TABLES
from workflow_scripts.report.latex import write_latex
from workflow_scripts.report.score_tables import cascade_table, choice_table, references_table
from workflow_scripts.settings.display import DisplaySettings

Row = dict[str, Any]
WRAPPED = frozenset({"question", "reference", "answer"})
"""Columns whose long texts are broken into lines in LaTeX."""


class Labels:
    """Display names of models and subsets."""

    def __init__(self, display: Mapping[str, Any]):
        self._display = DisplaySettings.model_validate(display)

    def model(self, key: str) -> str:
        """Name of a model."""
        return self._display.models[key].label if key in self._display.models else key

    def subset(self, key: str) -> str:
        """Name of a subset."""
        return self._display.subsets.get(key, key)


def _subsets(rows: Sequence[Row]) -> list[str]:
    return sorted({row["subset"] for row in rows} - {"overall", "knowledge"})


def gap_table(gap: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Table 2: two rows per checkpoint (speech, text), a column per subset, Overall and GAP on the text row."""
    subsets = _subsets(gap)
    trained = [row for row in gap if row["checkpoint"] != "base"]
    table = []
    for model, checkpoint in dict.fromkeys((row["model"], row["checkpoint"]) for row in trained):
        own = {row["subset"]: row for row in trained if (row["model"], row["checkpoint"]) == (model, checkpoint)}
        for form in ("speech", "text"):
            line: Row = {"model": labels.model(model), "step": own["overall"]["step"], "modality": form}
            line |= {subset: own[subset][form] for subset in subsets if subset in own}
            line |= {"overall": own["overall"][form], "n": own["overall"]["n"]}
            if form == "text":
                line |= {"gap": own["overall"]["gap"], "gap_interval": _interval(own["overall"], "gap")}
            table.append(line)
    columns = {"model": "Model", "step": "Step", "modality": "Modality"}
    columns |= {subset: labels.subset(subset) for subset in subsets}
    return table, columns | {"overall": "Overall", "gap": "GAP", "gap_interval": "95 %", "n": "n"}


def _interval(row: Row, column: str, digits: int = 1) -> str | None:
    """`[low, high]` of a column, or None if it was not computed."""
    low, high = row[f"{column}_low"], row[f"{column}_high"]
    return None if low is None or high is None else f"[{low:.{digits}f}, {high:.{digits}f}]"


def pipeline_table(gap: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Table 3: the untuned backbones on ASR transcripts, with reference text beside it (ours)."""
    subsets = _subsets(gap)
    table = []
    for model in dict.fromkeys(row["model"] for row in gap if row["checkpoint"] == "base"):
        own = {row["subset"]: row for row in gap if row["model"] == model and row["checkpoint"] == "base"}
        for form, label in (("asr", "ASR + LLM"), ("text", "LLM on text")):
            line: Row = {"model": labels.model(model), "input": label}
            line |= {subset: own[subset][form] for subset in subsets if subset in own}
            table.append(line | {"overall": own["overall"][form], "n": own["overall"]["n"]})
    columns = {"model": "Backbone", "input": "Input"} | {subset: labels.subset(subset) for subset in subsets}
    return table, columns | {"overall": "Overall", "n": "n"}


def intervention_table(tests: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Table 1, with counts and tests beside each score (ours): edits and ceilings against unedited speech."""
    columns = {
        "model": "Model",
        "edit": "Edit",
        "score": "Score",
        "difference": "Change",
        "interval": "95 %",
        "b": "b (gained)",
        "c": "c (lost)",
        "p_holm": "p (Holm)",
        "nll_change": "NLL change",
        "kl_change": "KL change",
        "detectable": "Detectable",
        "verdict": "Verdict",
        "n": "n",
    }
    chosen = [row for row in tests if row["against"] == "none" and row["kind"] != "control"]
    return [_filled(row, columns, labels) for row in chosen], columns


def control_table(tests: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Every edit against the unedited answers and against each of its controls (ours)."""
    columns = {
        "model": "Model",
        "edit": "Edit",
        "against": "Against",
        "difference": "Difference",
        "interval": "95 %",
        "b": "b",
        "c": "c",
        "p": "p",
        "p_holm": "p (Holm)",
        "nll_change": "NLL",
        "nll_interval": "NLL, 95 %",
        "shift_mean": "Size of change",
        "verdict": "Verdict",
        "n": "n",
    }
    return [_filled(row, columns, labels) for row in tests if row["kind"] == "edit"], columns


def case_table(cases: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Tables 4 to 7: the answers of one question by text, by speech and under each edit, case after case."""
    columns = {
        "model": "Model",
        "change": "Change",
        "question": "Question",
        "reference": "Reference",
        "input": "Input",
        "answer": "Answer",
        "right": "Right",
    }
    table, last = [], None
    for row in cases:
        case = tuple(row[name] for name in ("model", "change", "id"))
        line = {key: row[key] for key in columns} | {"model": labels.model(row["model"])}
        line |= {name: "" if row[name] is None else str(row[name]) for name in ("question", "reference", "answer")}
        line["right"] = "yes" if row["right"] else "no"
        # As in the paper, a question is printed once, above its answers.
        table.append(line if case != last else line | {"model": "", "change": "", "question": "", "reference": ""})
        last = case
    return table, columns


def _filled(row: Row, columns: Mapping[str, str], labels: Labels) -> Row:
    filled = {key: row.get(key) for key in columns} | {"model": labels.model(row["model"])}
    filled["interval"] = _interval(row, "difference")
    if "nll_interval" in columns:
        filled["nll_interval"] = _interval(row, "nll_change", 2)
    return filled


def alignment_table(checkpoints: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Table 9: monotonicity and consistency of the last checkpoints, each beside its shuffled-pair null (ours)."""
    columns = {
        "model": "Model",
        "monotonicity_cosine": "Monotonicity (cos)",
        "monotonicity_cosine_null": "null",
        "monotonicity_euclidean": "Monotonicity (Euclid)",
        "monotonicity_euclidean_null": "null",
        "consistency": "Consistency",
        "consistency_null": "null",
        "aps_cosine": "APS (cos)",
        "aps_cosine_null": "null",
        "n": "n",
    }
    return _last_checkpoints(checkpoints, columns, labels), columns


def time_table(checkpoints: Sequence[Row], labels: Labels) -> tuple[list[Row], dict[str, str]]:
    """Paths of the last checkpoints against word times, beside two paths that need no model (ours)."""
    columns = {
        "model": "Model",
        "time_error_ms_cosine": "Error, ms (cos)",
        "time_error_ms_euclidean": "(Euclid)",
        "time_error_ms_uniform": "uniform",
        "time_error_ms_proportional": "proportional",
        "hit_rate_cosine": "Hit rate (cos)",
        "hit_rate_euclidean": "(Euclid)",
        "hit_rate_uniform": "uniform",
        "hit_rate_proportional": "proportional",
        "timed_share": "Timed",
        "timed_n": "n",
    }
    return _last_checkpoints(checkpoints, columns, labels), columns


def _last_checkpoints(checkpoints: Sequence[Row], columns: Mapping[str, str], labels: Labels) -> list[Row]:
    """One row per model, of its last checkpoint over all subsets."""
    rows = [row for row in checkpoints if row["subset"] == "all"]
    table = []
    for model in dict.fromkeys(row["model"] for row in rows):
        last = max((row for row in rows if row["model"] == model), key=lambda row: row["step"] or 0)
        table.append({**{key: last[key] for key in columns}, "model": labels.model(model)})
    return table


def build_tables(
    gap: Path,
    checkpoints: Path,
    tests: Path,
    cases: Path,
    outputs: Mapping[str, Path],
    display: Mapping[str, Any],
    *,
    decline: Path,
    cascade: Path,
) -> None:
    """Write every table to `outputs["<name>_csv"]` and `outputs["<name>_tex"]`."""
    labels = Labels(display)
    gap_rows, test_rows = read_table(gap), read_table(tests)
    tables = {
        "table1_interventions": intervention_table(test_rows, labels),
        "interventions_controls": control_table(test_rows, labels),
        "table4_cases": case_table(read_table(cases), labels),
        "table2_gap": gap_table(gap_rows, labels),
        "table3_pipeline": pipeline_table(gap_rows, labels),
        "table9_alignment": alignment_table(read_table(checkpoints), labels),
        "alignment_in_time": time_table(read_table(checkpoints), labels),
        "references": references_table(read_table(decline), labels.model),
        "multiple_choice": choice_table(gap_rows, labels.model, labels.subset),
        "cascade": cascade_table(read_table(cascade), labels.model),
    }
    for name, (rows, columns) in tables.items():
        write_table(outputs[f"{name}_csv"], rows, list(columns))
        write_latex(outputs[f"{name}_tex"], rows, columns, TABLES[name][1], wrapped=WRAPPED)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_tables(
            s.input.gap,
            s.input.checkpoints,
            s.input.tests,
            s.input.cases,
            dict(s.output.items()),
            s.params.display,
            decline=s.input.decline,
            cascade=s.input.cascade,
        ),
    )
