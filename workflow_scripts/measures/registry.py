"""Every measure of hidden states: from these entries follow the files, their nulls, tables, predictors, labels and
docs.

A new measure is one function and one entry here (docs/development.md). What the function takes depends on the level:

    pair    `pooled_pairs.PooledPairs`, the questions of a length bin by their sequence vectors, at one layer
    token   `pair_alignment.TokenPairs`, the same by their positions
    shard   `cka.ShardQuestions`, questions against questions at all layers

Levels `pair` and `token` give, with a null, (m, m) float64 of all speech-text pairs, true pairs on the diagonal, so
that the null is a choice of entries (`pair_null`); without null, (m,) of the true pairs. Level `shard` gives the values
(L+1,), or (L+1, L+1) with them on the diagonal, and those of each draw, (B, L+1). NaN means undefined.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from workflow_scripts.measures import cka, geometry, neighbours, pooled_pairs, token_measures
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
    within_halves     its values of question i and text j depend on the halves of both (`centring`), so that only
                      questions of one half may exchange texts
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
    within_halves: bool = False

    def __post_init__(self) -> None:
        if self.has_null and self.higher_is_better is None:
            raise ValueError(f"measure {self.name!r} has a null: say whether higher or lower is better than chance")


CALIBRATED = "_calibrated"
"""Suffix of a predictor that is the calibrated value of a measure."""

MEASURES: dict[str, Measure] = {
    "cosine": Measure(
        name="cosine", level="pair", function=pooled_pairs.cosine, higher_is_better=True, has_null=True,
        label="Sim, cosine", unit="", predictor="value and calibrated",
        caption="Cosine of the mean states of both forms; Sim is its mean over layers 1..L and questions.",
    ),
    "euclidean": Measure(
        name="euclidean", level="pair", function=pooled_pairs.euclidean, higher_is_better=False, has_null=True,
        label="Sim, Euclidean distance", unit="norm of states", predictor="value and calibrated",
        caption="Euclidean distance of the mean states of both forms.",
    ),
    "length_free_distance": Measure(
        name="length_free_distance", level="pair", function=pooled_pairs.length_free_distance,
        higher_is_better=False, has_null=True, label="length-free distance", unit="",
        caption="Euclidean distance of the mean states over the root of the product of their lengths.",
    ),
    "cosine_common": Measure(
        name="cosine_common", level="pair", function=pooled_pairs.cosine_common, higher_is_better=True,
        has_null=True, label="cosine, common mean taken away", unit="", predictor="", within_halves=True,
        caption="Cosine after the mean over both forms, on the other half of the questions, is taken away: an "
        "offset between the forms stays.",
    ),
    "cosine_modality": Measure(
        name="cosine_modality", level="pair", function=pooled_pairs.cosine_modality, higher_is_better=True,
        has_null=True, label="centred cosine", unit="",
        caption="Cosine after each form's mean, on the other half of the questions, is taken away.",
    ),
    "cosine_trimmed": Measure(
        name="cosine_trimmed", level="pair", function=pooled_pairs.cosine_trimmed, higher_is_better=True,
        has_null=True, label="cosine, massive dimensions left out", unit="", predictor="",
        caption="Cosine without the `chance.massive_dimensions` dimensions of largest maximum over median.",
    ),
    "retrieval": Measure(
        name="retrieval", level="pair", function=pooled_pairs.retrieval, higher_is_better=True, has_null=True,
        label="retrieval", unit="", predictor="",
        caption="Share of spoken questions whose most similar text is their own.",
    ),
    "norm_speech": Measure(
        name="norm_speech", level="pair", function=pooled_pairs.norm_speech, higher_is_better=None, has_null=False,
        label="length of mean speech state", unit="norm of states", predictor="",
        caption="Length of the mean speech state.",
    ),
    "norm_text": Measure(
        name="norm_text", level="pair", function=pooled_pairs.norm_text, higher_is_better=None, has_null=False,
        label="length of mean text state", unit="norm of states", predictor="",
        caption="Length of the mean text state.",
    ),
    "token_norm_speech": Measure(
        name="token_norm_speech", level="pair", function=pooled_pairs.token_norm_speech, higher_is_better=None,
        has_null=False, label="mean length of speech states", unit="norm of states", predictor="",
        caption="Mean length of the single speech states.",
    ),
    "token_norm_text": Measure(
        name="token_norm_text", level="pair", function=pooled_pairs.token_norm_text, higher_is_better=None,
        has_null=False, label="mean length of text states", unit="norm of states", predictor="",
        caption="Mean length of the single text states.",
    ),
    "log_norm_ratio": Measure(
        name="log_norm_ratio", level="pair", function=pooled_pairs.log_norm_ratio, higher_is_better=None,
        has_null=False, label="log norm ratio", unit="", predictor="",
        caption="Logarithm of the ratio of the mean states' lengths, speech over text.",
    ),
    "cosine_median": Measure(
        name="cosine_median", level="pair", function=pooled_pairs.cosine_median, higher_is_better=True,
        has_null=False, label="cosine of medians", unit="", predictor="",
        caption="Cosine of the medians over positions.",
    ),
    "cosine_last": Measure(
        name="cosine_last", level="pair", function=pooled_pairs.cosine_last, higher_is_better=True, has_null=False,
        label="cosine of last states", unit="", predictor="",
        caption="Cosine of the states at the last positions.",
    ),
    "cosine_without_first": Measure(
        name="cosine_without_first", level="pair", function=pooled_pairs.cosine_without_first, higher_is_better=True,
        has_null=False, label="cosine without first state", unit="", predictor="",
        caption="Cosine of the mean states without the first position.",
    ),
    "path_score_cosine": Measure(
        name="path_score_cosine", level="token", function=token_measures.path_score_cosine, higher_is_better=True,
        has_null=True, label="APS, cosine", unit="", predictor="value and calibrated",
        caption="Mean cosine of each text token with its best speech position; APS is its mean over layers 1..L "
        "and questions.",
    ),
    "path_score_euclidean": Measure(
        name="path_score_euclidean", level="token", function=token_measures.path_score_euclidean,
        higher_is_better=False, has_null=True, label="APS, Euclidean distance", unit="norm of states",
        predictor="value and calibrated",
        caption="Mean Euclidean distance of each text token from its nearest speech position.",
    ),
    "path_score_centred": Measure(
        name="path_score_centred", level="token", function=token_measures.path_score_centred, higher_is_better=True,
        has_null=True, label="centred APS", unit="",
        caption="APS, cosine, after each form's mean over the positions of the other half of the questions is "
        "taken away.",
    ),
    "monotonicity_cosine": Measure(
        name="monotonicity_cosine", level="token", function=token_measures.monotonicity_cosine,
        higher_is_better=True, has_null=True, label="monotonicity, cosine", unit="", predictor="",
        caption="Spearman correlation of token index and speech position on the cosine path.",
    ),
    "monotonicity_euclidean": Measure(
        name="monotonicity_euclidean", level="token", function=token_measures.monotonicity_euclidean,
        higher_is_better=True, has_null=True, label="monotonicity, Euclidean distance", unit="", predictor="",
        caption="Spearman correlation of token index and speech position on the path of nearest frames.",
    ),
    "consistency": Measure(
        name="consistency", level="token", function=token_measures.consistency, higher_is_better=True, has_null=True,
        label="consistency", unit="", predictor="",
        caption="Share of text tokens on whose speech position both metrics agree.",
    ),
    "violations": Measure(
        name="violations", level="token", function=token_measures.violations, higher_is_better=False, has_null=True,
        label="violations", unit="", predictor="",
        caption="Share of steps of the cosine path that go back.",
    ),
    "collisions": Measure(
        name="collisions", level="token", function=token_measures.collisions, higher_is_better=False, has_null=True,
        label="collisions", unit="", predictor="",
        caption="1 - distinct speech positions / text tokens on the cosine path.",
    ),
    "monotone_score": Measure(
        name="monotone_score", level="token", function=token_measures.monotone_score, higher_is_better=True,
        has_null=True, label="monotone score", unit="",
        caption="Mean cosine on the best path that never runs back.",
    ),
    "monotone_loss": Measure(
        name="monotone_loss", level="token", function=token_measures.monotone_loss, higher_is_better=False,
        has_null=True, label="monotone loss", unit="", predictor="",
        caption="Cosine that the path loses when it may not run back.",
    ),
    "dtw_cost": Measure(
        name="dtw_cost", level="token", function=token_measures.dtw_cost, higher_is_better=False, has_null=True,
        label="DTW cost", unit="", predictor="",
        caption="Cost of the cheapest time warping, 1 - cosine a step, over T_s + T_t.",
    ),
    "path_score_frame_to_text": Measure(
        name="path_score_frame_to_text", level="token", function=token_measures.path_score_frame_to_text,
        higher_is_better=True, has_null=False, label="APS, frame to text", unit="", predictor="",
        caption="Mean cosine of each speech position with its best text token.",
    ),
    "path_score_mutual": Measure(
        name="path_score_mutual", level="token", function=token_measures.path_score_mutual, higher_is_better=True,
        has_null=False, label="APS, mutual best", unit="", predictor="",
        caption="Mean cosine of positions and tokens that are each other's best.",
    ),
    "path_score_euclidean_on_cosine_path": Measure(
        name="path_score_euclidean_on_cosine_path", level="token",
        function=token_measures.path_score_euclidean_on_cosine_path, higher_is_better=False, has_null=False,
        label="Euclidean distance on cosine path", unit="norm of states", predictor="",
        caption="Mean Euclidean distance along the cosine path.",
    ),
    "time_error_ms_cosine": Measure(
        name="time_error_ms_cosine", level="token", function=of_path(time_error_ms, "cosine"),
        higher_is_better=False, has_null=False, label="time error, cosine path", unit="ms", predictor="",
        caption="Mean distance from the middle of the speech position to the middle of the token's word, cosine "
        "path.",
    ),
    "time_error_ms_euclidean": Measure(
        name="time_error_ms_euclidean", level="token", function=of_path(time_error_ms, "euclidean"),
        higher_is_better=False, has_null=False, label="time error, path of nearest frames", unit="ms", predictor="",
        caption="Mean distance from the middle of the speech position to the middle of the token's word, path of "
        "nearest frames.",
    ),
    "time_error_ms_uniform": Measure(
        name="time_error_ms_uniform", level="token", function=of_path(time_error_ms, "uniform"),
        higher_is_better=False, has_null=False, label="time error, uniform frames", unit="ms", predictor="",
        caption="Mean distance from the middle of the speech position to the middle of the token's word, uniform "
        "frames.",
    ),
    "time_error_ms_proportional": Measure(
        name="time_error_ms_proportional", level="token", function=of_path(time_error_ms, "proportional"),
        higher_is_better=False, has_null=False, label="time error, constant speaking rate", unit="ms", predictor="",
        caption="Mean distance from the middle of the speech position to the middle of the token's word, constant "
        "speaking rate.",
    ),
    "time_error_median_ms_cosine": Measure(
        name="time_error_median_ms_cosine", level="token", function=of_path(time_error_median_ms, "cosine"),
        higher_is_better=False, has_null=False, label="median time error, cosine path", unit="ms", predictor="",
        caption="Median distance from the middle of the speech position to the middle of the token's word, cosine "
        "path.",
    ),
    "time_error_median_ms_euclidean": Measure(
        name="time_error_median_ms_euclidean", level="token", function=of_path(time_error_median_ms, "euclidean"),
        higher_is_better=False, has_null=False, label="median time error, path of nearest frames", unit="ms",
        predictor="",
        caption="Median distance from the middle of the speech position to the middle of the token's word, path "
        "of nearest frames.",
    ),
    "time_error_median_ms_uniform": Measure(
        name="time_error_median_ms_uniform", level="token", function=of_path(time_error_median_ms, "uniform"),
        higher_is_better=False, has_null=False, label="median time error, uniform frames", unit="ms", predictor="",
        caption="Median distance from the middle of the speech position to the middle of the token's word, "
        "uniform frames.",
    ),
    "time_error_median_ms_proportional": Measure(
        name="time_error_median_ms_proportional", level="token",
        function=of_path(time_error_median_ms, "proportional"), higher_is_better=False, has_null=False,
        label="median time error, constant speaking rate", unit="ms", predictor="",
        caption="Median distance from the middle of the speech position to the middle of the token's word, "
        "constant speaking rate.",
    ),
    "hit_rate_cosine": Measure(
        name="hit_rate_cosine", level="token", function=of_path(hit_rate, "cosine"), higher_is_better=True,
        has_null=False, label="hit rate, cosine path", unit="", predictor="",
        caption="Share of tokens whose speech position holds any part of their word, cosine path.",
    ),
    "hit_rate_euclidean": Measure(
        name="hit_rate_euclidean", level="token", function=of_path(hit_rate, "euclidean"), higher_is_better=True,
        has_null=False, label="hit rate, path of nearest frames", unit="", predictor="",
        caption="Share of tokens whose speech position holds any part of their word, path of nearest frames.",
    ),
    "hit_rate_uniform": Measure(
        name="hit_rate_uniform", level="token", function=of_path(hit_rate, "uniform"), higher_is_better=True,
        has_null=False, label="hit rate, uniform frames", unit="", predictor="",
        caption="Share of tokens whose speech position holds any part of their word, uniform frames.",
    ),
    "hit_rate_proportional": Measure(
        name="hit_rate_proportional", level="token", function=of_path(hit_rate, "proportional"),
        higher_is_better=True, has_null=False, label="hit rate, constant speaking rate", unit="", predictor="",
        caption="Share of tokens whose speech position holds any part of their word, constant speaking rate.",
    ),
    "timed_share": Measure(
        name="timed_share", level="token", function=token_measures.timed_share, higher_is_better=None,
        has_null=False, label="timed share", unit="", predictor="",
        caption="Share of text tokens that belong to a word with known times.",
    ),
    "cka": Measure(
        name="cka", level="shard", function=cka.cka, higher_is_better=True, has_null=True, label="CKA", unit="",
        caption="Debiased linear CKA over questions, speech against text at the same layer.",
    ),
    "mutual_knn": Measure(
        name="mutual_knn", level="shard", function=neighbours.mutual_knn, higher_is_better=True, has_null=True,
        label="mutual kNN", unit="",
        caption="Share of the 10 nearest questions that speech and text have in common.",
    ),
    "rsa": Measure(
        name="rsa", level="shard", function=geometry.rsa, higher_is_better=True, has_null=True, label="RSA", unit="",
        predictor="", caption="Spearman correlation of the cosine distances between questions, speech against text.",
    ),
    "procrustes": Measure(
        name="procrustes", level="shard", function=geometry.procrustes, higher_is_better=True, has_null=True,
        label="Procrustes", unit="", predictor="",
        caption="Share of both forms' centred mean states that the best rotation brings into line: nuclear norm of "
        "their product. High for any two forms of fewer questions than dimensions; read it against its null.",
    ),
}  # fmt: skip
"""Every measure by name, in the order of tables."""


def of_level(*levels: Level) -> dict[str, Measure]:
    """The measures of one or more levels, in order."""
    return {name: measure for name, measure in MEASURES.items() if measure.level in levels}


def predictors() -> dict[str, Measure]:
    """Names of the predictors of the gap that are measures of states, with their measure; calibrated ones last."""
    values = {name: measure for name, measure in MEASURES.items() if measure.predictor}
    return values | {
        name + CALIBRATED: measure for name, measure in values.items() if measure.predictor == "value and calibrated"
    }


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
