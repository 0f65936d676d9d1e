"""The paper's Tables 1, 2, 3, 4 to 7 and 9 from our numbers, and tables beyond it, as CSV and LaTeX.

Table 1: one subset under the interventions, last checkpoints. Table 2: scores by checkpoint and form, Overall and GAP.
Table 3: the pipeline of ASR and untuned backbone. Tables 4 to 7: single questions, chosen by rule. Table 9: alignment
statistics of the last checkpoints. Beyond the paper: every edit of Table 1 beside its controls, and `score_tables`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from workflow_scripts.artifacts.tables import last_checkpoints, read_table, select, typed, write_columns
from workflow_scripts.measures.cka import questions_needed
from workflow_scripts.measures.labels import label
from workflow_scripts.report.labels import Labels
from workflow_scripts.report.latex import write_latex
from workflow_scripts.report.numbers import plain_interval, types
from workflow_scripts.report.score_tables import (
    answer_table,
    cascade_table,
    choice_table,
    floor_table,
    references_table,
    tag_table,
)
from workflow_scripts.report.table import TABLES

CHECKPOINT = ["model", "checkpoint"]
LOCAL = ["mutual_knn", "retrieval"]
GLOBAL = ["cka", "rsa", "procrustes"]


def gap_table(gap: pd.DataFrame) -> pd.DataFrame:
    """Table 2: two rows per checkpoint (speech, text), a column per subset, Overall and GAP on the text row."""
    scores = select(gap, measure="score")
    scores = scores[scores["checkpoint"] != "base"]
    table = _scores_by_subset(scores, {"speech": "speech", "text": "text"}, "modality")
    gaps = select(scores, subset="overall", form="gap").assign(modality="text")
    gaps = gaps.assign(gap=gaps["value"], gap_interval=_ends(gaps))
    return table.merge(gaps[[*CHECKPOINT, "modality", "gap", "gap_interval"]], on=[*CHECKPOINT, "modality"], how="left")


def pipeline_table(gap: pd.DataFrame) -> pd.DataFrame:
    """Table 3: the untuned backbones on ASR transcripts, with reference text beside it."""
    scores = select(gap, checkpoint="base", measure="score")
    return _scores_by_subset(scores, {"asr": "ASR + LLM", "text": "LLM on text"}, "input")


def _scores_by_subset(scores: pd.DataFrame, forms: Mapping[str, str], name: str) -> pd.DataFrame:
    """A row per checkpoint and form, called by `forms` in the column `name`; step and n are those of Overall."""
    rows = scores[scores["form"].isin(list(forms))]
    wide = rows.pivot(index=[*CHECKPOINT, "form"], columns="subset", values="value").reset_index()
    overall = select(rows, subset="overall")[[*CHECKPOINT, "form", "step", "n"]]
    return wide.merge(overall, on=[*CHECKPOINT, "form"]).assign(**{name: lambda table: table["form"].map(forms)})


def _ends(rows: pd.DataFrame, digits: int = 1) -> list[str]:
    """`[low, high]` of every row."""
    ends = zip(rows["low"], rows["high"])
    return ["" if pd.isna(low) else f"[{low:.{digits}f}, {high:.{digits}f}]" for low, high in ends]


def intervention_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Table 1, with counts and tests beside each score: edits and ceilings against unedited speech."""
    rows = select(tests, against="none")
    rows = rows[rows["kind"] != "control"]
    ends = rows.rename(columns={"difference_low": "low", "difference_high": "high"})
    return rows.assign(interval=_ends(ends))


def control_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Every edit against the unedited answers and against each of its controls."""
    rows = select(tests, kind="edit")
    for column, digits in (("difference", 1), ("nll_change", 3), ("kl_change", 3)):
        cells = zip(rows[column], rows[f"{column}_low"], rows[f"{column}_high"])
        rows = rows.assign(**{column: [plain_interval(*cell, digits=digits) for cell in cells]})
    return rows


def erasure_table(tests: pd.DataFrame) -> pd.DataFrame:
    """What a linear reader tells of the words before and after each erasure, its control behind it."""
    rows = select(tests, against="none").dropna(subset="r2_before")
    for name in ("before", "after"):
        cells = zip(*(rows[f"r2_{name}{end}"] for end in ("", "_low", "_high")))
        rows = rows.assign(**{name: [plain_interval(*cell, digits=2) for cell in cells]})
    return rows


def case_table(cases: pd.DataFrame) -> pd.DataFrame:
    """Tables 4 to 7: the answers of one question by text, by speech and under each edit, case after case."""
    table = cases.assign(right=cases["right"].map({True: "yes", False: "no"}))
    # As in the paper, a question is printed once, above its answers.
    table.loc[table.duplicated(["model", "change", "id"]), ["model", "change", "question", "reference"]] = ""
    return table


def alignment_table(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Table 9: monotonicity and consistency of the last checkpoints, each beside its shuffled-pair null."""
    last = last_checkpoints(select(checkpoints, subset="all"))
    nulls = last.assign(measure=last["measure"] + "_null", value=last["null"])
    return _measures(pd.concat([last, nulls]), counted="path_score_cosine")


def time_table(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Paths of the last checkpoints against word times, beside two paths that need no model."""
    return _measures(last_checkpoints(select(checkpoints, subset="all")), counted="time_error_ms_cosine")


def local_table(checkpoints: pd.DataFrame) -> pd.DataFrame:
    """Neighbours first, then measures of the whole geometry, at the last checkpoints, a row per model and measure."""
    rows = last_checkpoints(select(checkpoints, subset="all"))
    rows = rows[rows["measure"].isin(LOCAL + GLOBAL)]
    order = pd.Categorical(rows["measure"], LOCAL + GLOBAL, ordered=True)
    rows = rows.assign(order=order).sort_values(["model", "order"])
    kinds = rows["measure"].map(dict.fromkeys(LOCAL, "local") | dict.fromkeys(GLOBAL, "global"))
    needed = [
        questions_needed(tau, n) if name == "cka" else float("nan")
        for name, tau, n in zip(rows["measure"], rows["tau"], rows["n"])
    ]
    return rows.assign(kind=kinds, needed=needed, measure=rows["measure"].map(label))


def _measures(rows: pd.DataFrame, counted: str) -> pd.DataFrame:
    """A row per model, a column per measure, n of the measure `counted`."""
    wide = rows.pivot(index="model", columns="measure", values="value").reset_index()
    return wide.merge(select(rows, measure=counted)[["model", "n"]], on="model", how="left")


def build_tables(tables: Mapping[str, Path], outputs: Mapping[str, Path], display: Mapping[str, Any]) -> None:
    """Write every table to `outputs["<name>_csv"]` and `outputs["<name>_tex"]`.

    Args:
        tables: paths of gap, decline, cascade, tags, checkpoints, tests and cases; of floors, if they were asked.
        display: DisplaySettings as plain values.
    """
    labels = Labels(display)
    read = {name: read_table(path, name) for name, path in tables.items()}
    gap, tests, checkpoints = (read[name] for name in ("gap", "tests", "checkpoints"))
    made = {
        "table2_gap": gap_table(gap),
        "table3_pipeline": pipeline_table(gap),
        "references": references_table(read["decline"]),
        "multiple_choice": choice_table(gap),
        "floors": floor_table(read.get("floors")),
        "answers_by_form": answer_table(gap),
        "gap_by_tag": tag_table(read["tags"]),
        "cascade_agreement": cascade_table(read["cascade"]),
        "table9_alignment": alignment_table(checkpoints),
        "local_and_global": local_table(checkpoints),
        "alignment_in_time": time_table(checkpoints),
        "table1_interventions": intervention_table(tests),
        "interventions_controls": control_table(tests),
        "erased_words": erasure_table(tests),
        "table4_cases": case_table(read["cases"]),
    }
    subsets = labels.subsets(set(gap["subset"]) - {"overall", "knowledge"})
    for name, frame in made.items():
        table = TABLES[name].with_subsets(subsets)
        frame = labels.apply(frame).reindex(columns=list(table.columns))
        write_columns(outputs[f"{name}_csv"], frame, types(table))
        write_latex(outputs[f"{name}_tex"], typed(frame, types(table)), table)


if __name__ == "__main__":
    from workflow_scripts.artifacts.logs import run_step

    run_step(
        snakemake,
        lambda s: build_tables(dict(s.input.items()), dict(s.output.items()), s.params.display),
    )
