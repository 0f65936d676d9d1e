"""Tables of scores that the paper does not have: references of the decline, multiple choice, and cascades (ours).

All are of the last checkpoint of each model; every number has its 95 % interval or n beside it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
FORMS = {"text": "text", "speech": "speech", "asr": "ASR text"}


def last_rows(rows: Sequence[Row]) -> list[Row]:
    """Rows of the last checkpoint of every trained model, in the order given."""
    steps: dict[str, float] = {}
    for row in rows:
        if row["checkpoint"] != "base":
            steps[row["model"]] = max(steps.get(row["model"], -1), -1 if row["step"] is None else row["step"])
    return [
        row
        for row in rows
        if row["checkpoint"] != "base" and steps[row["model"]] == (-1 if row["step"] is None else row["step"])
    ]


def interval(row: Mapping[str, Any], column: str, digits: int = 1) -> str | None:
    """`value [low, high]`; the value alone without interval; None without value."""
    value, low, high = (row.get(f"{column}{end}") for end in ("", "_low", "_high"))
    if value is None:
        return None
    if low is None or high is None:
        return f"{value:.{digits}f}"
    return f"{value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def references_table(decline: Sequence[Row], model: Callable[[str], str]) -> tuple[list[Row], dict[str, str]]:
    """The five references of Overall and what lies between them."""
    columns = {
        "model": "Model",
        "base_text": "Base, text",
        "base_asr": "Base, ASR text",
        "tuned_text": "Tuned, text",
        "tuned_asr": "Tuned, ASR text",
        "tuned_speech": "Tuned, speech",
        "erosion": "Erosion",
        "tuned_asr_loss": "ASR loss",
        "modality_loss": "Modality loss",
        "decline": "Decline",
        "n": "n",
    }
    rows = [
        {"model": model(row["model"]), "n": row["n"]} | {name: interval(row, name) for name in list(columns)[1:-1]}
        for row in last_rows(decline)
        if row["subset"] == "overall"
    ]
    return rows, columns


def choice_table(
    gap: Sequence[Row], model: Callable[[str], str], subset: Callable[[str], str]
) -> tuple[list[Row], dict[str, str]]:
    """Multiple choice: accuracy, unparsed, chance-corrected, and what needs no parser, by form."""
    columns = {
        "model": "Model",
        "subset": "Subset",
        "form": "Form",
        "accuracy": "Accuracy",
        "unparsed": "Unparsed, %",
        "corrected": "Chance-corrected",
        "letter_accuracy": "Letter probability, accuracy",
        "letter_margin": "its margin, nats",
        "option_accuracy": "Text probability, accuracy",
        "outside_mass": "Mass outside letters",
        "n": "n",
    }
    rows = []
    for row in last_rows(gap):
        if row.get("chance") is None:
            continue
        for form, label in FORMS.items():
            if row.get(form) is None:
                continue
            line = {"model": model(row["model"]), "subset": subset(row["subset"]), "form": label, "n": row["n"]}
            line |= {"accuracy": interval(row, form), "unparsed": _percent(row.get(f"unparsed_{form}"))}
            line |= {name: interval(row, f"{name}_{form}") for name in ("corrected", "letter_accuracy")}
            line |= {"letter_margin": interval(row, f"letter_margin_{form}", 2)}
            line |= {"option_accuracy": interval(row, f"option_accuracy_{form}")}
            rows.append(line | {"outside_mass": interval(row, f"outside_mass_{form}", 2)})
    return rows, columns


def cascade_table(cascade: Sequence[Row], model: Callable[[str], str]) -> tuple[list[Row], dict[str, str]]:
    """Agreement of the tuned model on speech with its matched cascades, all subsets pooled."""
    columns = {
        "model": "Model",
        "cascade": "Cascade",
        "success_speech": "Success, speech",
        "success_cascade": "Success, cascade",
        "kappa": "Cohen's kappa",
        "error_overlap": "Error overlap",
        "error_overlap_chance": "by chance",
        "same_wrong": "Same wrong letter",
        "n": "n",
    }
    labels = {"tuned_asr": "tuned on ASR text", "base_asr": "base on ASR text"}
    rows = []
    for row in last_rows(cascade):
        if row["subset"] != "all":
            continue
        line = {"model": model(row["model"]), "cascade": labels[row["cascade"]], "n": row["n"]}
        line |= {name: row[name] for name in ("success_speech", "success_cascade", "error_overlap_chance")}
        rows.append(line | {name: interval(row, name, 2) for name in ("kappa", "error_overlap", "same_wrong")})
    return rows, columns


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share
