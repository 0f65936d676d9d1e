"""Every measure of hidden states: from these entries follow the files, their nulls, tables, predictors, labels and
docs.

A new measure is one function and one entry here (docs/development.md). What the function takes depends on the level:

    pair    `pooled_pairs.PooledPairs`, the questions of a length bin by their sequence vectors, at one layer
    token   `pair_alignment.TokenPairs`, the same by their positions
    shard   `cka.ShardGrams`, questions against questions at all layers

Levels `pair` and `token` give, with a null, (m, m) float64 of all speech-text pairs, true pairs on the diagonal, so
that the null is a choice of entries (`pair_null`); without null, (m,) of the true pairs. Level `shard` gives the values
(L+1,), or (L+1, L+1) with them on the diagonal, and those of each draw, (B, L+1). NaN means undefined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workflow_scripts.measures import cka, pooled_pairs, token_measures
from workflow_scripts.measures.token_measures import hit_rate, of_path, time_error_median_ms, time_error_ms

Level = Literal["pair", "token", "shard"]


@dataclass(frozen=True)
class Measure:
    """One measure of hidden states.

    name              in files, tables and the config
    level             what `function` takes: see the module
    higher_is_better  a score with maximum 1; else a distance with minimum 0. None: neither, a description
    has_null          whether mismatched pairs tell its chance level
    label, unit       for axes and tables; unit is "" for pure numbers
    caption           what it is, in a sentence for the docs
    predictor         what the regressions of the gap try: nothing, its value, or also its calibrated value
    """

    name: str
    level: Level
    function: Callable[..., Any]
    higher_is_better: bool | None
    has_null: bool
    label: str
    unit: str
    caption: str
    predictor: Literal["", "value", "value and calibrated"] = "value"

    def __post_init__(self) -> None:
        if self.has_null and self.higher_is_better is None:
            raise ValueError(f"measure {self.name!r} has a null: say whether higher or lower is better than chance")


CALIBRATED = "_calibrated"
"""Suffix of a predictor that is the calibrated value of a measure."""

_UNIT = "norm of states"
_BOTH = "value and calibrated"
_PATHS = {
    "cosine": "cosine path",
    "euclidean": "path of nearest frames",
    "uniform": "uniform frames",
    "proportional": "constant speaking rate",
}


def _entries() -> list[Measure]:
    p, t = pooled_pairs, token_measures
    return [
        Measure("cosine", "pair", p.cosine, True, True, "Sim, cosine", "",
                "Cosine of the mean states of both forms; Sim is its mean over layers 1..L and questions.", _BOTH),
        Measure("euclidean", "pair", p.euclidean, False, True, "Sim, Euclidean distance", _UNIT,
                "Euclidean distance of the mean states of both forms.", _BOTH),
        Measure("length_free_distance", "pair", p.length_free_distance, False, True, "length-free distance", "",
                "Euclidean distance of the mean states over the root of the product of their lengths."),
        Measure("cosine_common", "pair", p.cosine_common, True, True, "cosine, common mean taken away", "",
                "Cosine after the mean over both forms, on the other half of the questions, is taken away: an offset "
                "between the forms stays.", ""),
        Measure("cosine_modality", "pair", p.cosine_modality, True, True, "centred cosine", "",
                "Cosine after each form's mean, on the other half of the questions, is taken away."),
        Measure("cosine_trimmed", "pair", p.cosine_trimmed, True, True, "cosine, massive dimensions left out", "",
                "Cosine without the `chance.massive_dimensions` dimensions of largest maximum over median.", ""),
        Measure("mutual_knn", "pair", p.mutual_knn, True, True, "mutual kNN", "",
                "Share of the 10 nearest questions that speech and text have in common."),
        Measure("retrieval", "pair", p.retrieval, True, True, "retrieval", "",
                "Share of spoken questions whose most similar text is their own.", ""),
        Measure("norm_speech", "pair", p.norm_speech, None, False, "length of mean speech state", _UNIT,
                "Length of the mean speech state.", ""),
        Measure("norm_text", "pair", p.norm_text, None, False, "length of mean text state", _UNIT,
                "Length of the mean text state.", ""),
        Measure("token_norm_speech", "pair", p.token_norm_speech, None, False, "mean length of speech states", _UNIT,
                "Mean length of the single speech states.", ""),
        Measure("token_norm_text", "pair", p.token_norm_text, None, False, "mean length of text states", _UNIT,
                "Mean length of the single text states.", ""),
        Measure("log_norm_ratio", "pair", p.log_norm_ratio, None, False, "log norm ratio", "",
                "Logarithm of the ratio of the mean states' lengths, speech over text.", ""),
        Measure("cosine_median", "pair", p.cosine_median, True, False, "cosine of medians", "",
                "Cosine of the medians over positions.", ""),
        Measure("cosine_last", "pair", p.cosine_last, True, False, "cosine of last states", "",
                "Cosine of the states at the last positions.", ""),
        Measure("cosine_without_first", "pair", p.cosine_without_first, True, False, "cosine without first state", "",
                "Cosine of the mean states without the first position.", ""),
        Measure("path_score_cosine", "token", t.path_score_cosine, True, True, "APS, cosine", "",
                "Mean cosine of each text token with its best speech position; APS is its mean over layers 1..L and "
                "questions.", _BOTH),
        Measure("path_score_euclidean", "token", t.path_score_euclidean, False, True, "APS, Euclidean distance", _UNIT,
                "Mean Euclidean distance of each text token from its nearest speech position.", _BOTH),
        Measure("path_score_centred", "token", t.path_score_centred, True, True, "centred APS", "",
                "APS, cosine, after each form's mean over the positions of the other half of the questions is taken "
                "away."),
        Measure("monotonicity_cosine", "token", t.monotonicity_cosine, True, True, "monotonicity, cosine", "",
                "Spearman correlation of token index and speech position on the cosine path.", ""),
        Measure("monotonicity_euclidean", "token", t.monotonicity_euclidean, True, True,
                "monotonicity, Euclidean distance", "",
                "Spearman correlation of token index and speech position on the path of nearest frames.", ""),
        Measure("consistency", "token", t.consistency, True, True, "consistency", "",
                "Share of text tokens on whose speech position both metrics agree.", ""),
        Measure("violations", "token", t.violations, False, True, "violations", "",
                "Share of steps of the cosine path that go back.", ""),
        Measure("collisions", "token", t.collisions, False, True, "collisions", "",
                "1 - distinct speech positions / text tokens on the cosine path.", ""),
        Measure("monotone_score", "token", t.monotone_score, True, True, "monotone score", "",
                "Mean cosine on the best path that never runs back."),
        Measure("monotone_loss", "token", t.monotone_loss, False, True, "monotone loss", "",
                "Cosine that the path loses when it may not run back.", ""),
        Measure("dtw_cost", "token", t.dtw_cost, False, True, "DTW cost", "",
                "Cost of the cheapest time warping, 1 - cosine a step, over T_s + T_t.", ""),
        Measure("path_score_frame_to_text", "token", t.path_score_frame_to_text, True, False, "APS, frame to text", "",
                "Mean cosine of each speech position with its best text token.", ""),
        Measure("path_score_mutual", "token", t.path_score_mutual, True, False, "APS, mutual best", "",
                "Mean cosine of positions and tokens that are each other's best.", ""),
        Measure("path_score_euclidean_on_cosine_path", "token", t.path_score_euclidean_on_cosine_path, False, False,
                "Euclidean distance on cosine path", _UNIT, "Mean Euclidean distance along the cosine path.", ""),
        *(
            Measure(f"{name}_{path}", "token", of_path(function, path), higher, False, f"{label}, {where}", unit,
                    f"{caption}, {where}.", "")
            for name, function, higher, label, unit, caption in (
                ("time_error_ms", time_error_ms, False, "time error", "ms",
                 "Mean distance from the middle of the speech position to the middle of the token's word"),
                ("time_error_median_ms", time_error_median_ms, False, "median time error", "ms",
                 "Median distance from the middle of the speech position to the middle of the token's word"),
                ("hit_rate", hit_rate, True, "hit rate", "",
                 "Share of tokens whose speech position holds any part of their word"),
            )
            for path, where in _PATHS.items()
        ),
        Measure("timed_share", "token", t.timed_share, None, False, "timed share", "",
                "Share of text tokens that belong to a word with known times.", ""),
        Measure("cka", "shard", cka.cka, True, True, "CKA", "",
                "Debiased linear CKA over questions, speech against text at the same layer."),
    ]  # fmt: skip


MEASURES: dict[str, Measure] = {measure.name: measure for measure in _entries()}
"""Every measure by name, in the order of tables."""


def of_level(*levels: Level) -> dict[str, Measure]:
    """The measures of one or more levels, in order."""
    return {name: measure for name, measure in MEASURES.items() if measure.level in levels}


def predictors() -> dict[str, Measure]:
    """Names of the predictors of the gap that are measures of states, with their measure; calibrated ones last."""
    values = {name: measure for name, measure in MEASURES.items() if measure.predictor}
    return values | {name + CALIBRATED: measure for name, measure in values.items() if measure.predictor == _BOTH}


def label(name: str) -> str:
    """The label of a measure, or of its calibrated value; the name itself for what is no measure of states."""
    if name in MEASURES:
        return MEASURES[name].label
    plain = name.removesuffix(CALIBRATED)
    return f"{MEASURES[plain].label}, calibrated" if plain in MEASURES else name


def table(measures: Mapping[str, Measure] | None = None) -> str:
    """The measures as a Markdown table, for docs/measures.md."""
    rows = ["| measure | what it is | unit | better | null |", "|---|---|---|---|---|"]
    better = {True: "higher", False: "lower", None: ""}
    for name, one in (MEASURES if measures is None else measures).items():
        null = "yes" if one.has_null else ""
        rows.append(f"| `{name}` | {one.label}: {one.caption} | {one.unit} | {better[one.higher_is_better]} | {null} |")
    return "\n".join(rows)
