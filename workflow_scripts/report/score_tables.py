"""Tables of scores that the paper does not have: references of the decline, multiple choice, answers, kinds of
questions, and cascades.

All are of the last checkpoint of each model; every number has its 95 % interval or n beside it.
"""

from collections.abc import Sequence

import pandas as pd

from workflow_scripts.artifacts.tables import last_checkpoints, select
from workflow_scripts.report.numbers import plain_interval

FORMS = {"text": "text", "speech": "speech", "asr": "ASR text"}
FLOORS = ("speech", "silence", "other", "above_silence", "above_other")
GUESSED = {"score": "score", "letter_accuracy": "letter probability, accuracy"}
CASCADES = {"tuned_asr": "tuned on ASR text", "base_asr": "base on ASR text"}


def references_table(decline: pd.DataFrame) -> pd.DataFrame:
    """The five references of Overall and what lies between them."""
    rows = select(last_checkpoints(decline), subset="overall")
    return _side_by_side(rows, ["model"]).merge(rows.groupby("model", as_index=False)["n"].max(), on="model")


def choice_table(gap: pd.DataFrame) -> pd.DataFrame:
    """Multiple choice: accuracy, unparsed, chance-corrected, and what needs no parser, by form.

    Subsets with a chance level are multiple choice.
    """
    key = ["model", "subset", "form"]
    rows = last_checkpoints(gap)
    rows = rows[rows["form"].isin(list(FORMS)) & ~rows["subset"].isin(["overall", "knowledge"])]
    scores = select(rows, measure="score").dropna(subset="null")[[*key, "n"]]
    rows = rows.drop(columns="n").merge(scores, on=key)
    table = _side_by_side(rows, key, letter_margin=2, outside_mass=2).merge(scores, on=key)
    unparsed = select(rows, measure="unparsed")[[*key, "value"]]
    table = table.drop(columns="unparsed", errors="ignore").merge(unparsed, on=key, how="left")
    order = pd.Categorical(table["form"], list(FORMS), ordered=True)
    table = table.assign(unparsed=100 * table["value"], order=order).sort_values(["model", "subset", "order"])
    return table.assign(form=table["form"].map(FORMS))


def answer_table(gap: pd.DataFrame) -> pd.DataFrame:
    """Shares of answers by form that are cut off, in another language, ..., whatever was asked; Overall first."""
    key = ["model", "subset", "form"]
    rows = last_checkpoints(gap)
    rows = rows[rows["form"].isin(list(FORMS)) & (rows["subset"] != "knowledge")]
    shares = rows[rows["measure"].str.startswith("answers_")]
    shares = shares.assign(measure=shares["measure"].str.removeprefix("answers_"))
    counts = select(shares, measure="truncated")[[*key, "n"]]
    table = _side_by_side(shares, key).merge(counts, on=key)
    order = pd.Categorical(table["form"], list(FORMS), ordered=True)
    table = table.assign(rest=table["subset"] != "overall", order=order)
    table = table.sort_values(["model", "rest", "subset", "order"])
    return table.assign(form=table["form"].map(FORMS), subset=table["subset"].replace("overall", "Overall"))


def floor_table(floors: pd.DataFrame | None) -> pd.DataFrame:
    """Spoken scores beside those of silence and of another question's audio; no rows where these were not asked."""
    if floors is None:
        return pd.DataFrame(columns=["model", "subset"])
    key = ["model", "subset", "measure"]
    rows = floors[floors["measure"].isin(list(GUESSED)) & floors["form"].isin(FLOORS)]
    counts = select(rows, form="speech")[[*key, "n"]]
    rows = rows.assign(what=rows["measure"], measure=rows["form"])
    table = _side_by_side(rows, ["model", "subset", "what"]).rename(columns={"what": "measure"}).merge(counts, on=key)
    order = pd.Categorical(table["measure"], list(GUESSED), ordered=True)
    table = table.assign(order=order).sort_values(["model", "subset", "order"])
    return table.assign(measure=table["measure"].map(GUESSED))


def cascade_table(cascade: pd.DataFrame) -> pd.DataFrame:
    """Agreement of the tuned model on speech with its matched cascades, all subsets pooled."""
    key = ["model", "cascade"]
    rows = select(last_checkpoints(cascade), subset="all")
    numbers = rows.pivot(index=key, columns="measure", values="value").reset_index()
    numbers = numbers.reindex(columns=[*key, "success_speech", "success_cascade"])
    texts = _side_by_side(rows, key, kappa=2, error_overlap=2, same_wrong=2)
    texts = texts.drop(columns=["success_speech", "success_cascade"], errors="ignore")
    chance = select(rows, measure="error_overlap")[[*key, "null", "n"]].rename(columns={"null": "error_overlap_null"})
    table = numbers.merge(texts, on=key).merge(chance, on=key)
    order = pd.Categorical(table["cascade"], list(CASCADES), ordered=True)
    table = table.assign(order=order).sort_values(["model", "order"])
    return table.assign(cascade=table["cascade"].map(CASCADES))


def tag_table(tags: pd.DataFrame) -> pd.DataFrame:
    """Gap of the questions with a tag, and its difference from that of the rest, in score and in loss.

    Tags that all questions of a subset have are left out.
    """
    tags = tags[tags["n_rest"] > 0]
    key = ["model", "subset", "tag"]
    shown = []
    for measure, digits in {"score": 1, "loss": 2}.items():
        rows = select(tags, measure=measure)
        gaps, differences = (
            [plain_interval(*cell, digits=digits) for cell in zip(*(rows[name] for name in names))]
            for names in (("value", "low", "high"), ("difference", "difference_low", "difference_high"))
        )
        columns = {"gap": gaps, "difference": differences, "p_holm": rows["p_holm"], "n": rows["n"]}
        shown.append(rows[key].assign(**{f"{measure}_{name}": cells for name, cells in columns.items()}))
    return shown[0].merge(shown[1], on=key, how="left").rename(columns={"score_n": "n"})


def _side_by_side(rows: pd.DataFrame, key: Sequence[str], **digits: int) -> pd.DataFrame:
    """A column per measure of texts `value [low, high]`, with one decimal where `digits` says nothing else."""
    cells = zip(rows["value"], rows["low"], rows["high"], rows["measure"])
    texts = [plain_interval(*cell, digits=digits.get(measure, 1)) for *cell, measure in cells]
    return rows.assign(text=texts).pivot(index=list(key), columns="measure", values="text").reset_index()
