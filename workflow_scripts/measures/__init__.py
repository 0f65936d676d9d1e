"""Similarity and alignment of spoken and written forms: pure functions on arrays, frozen dataclasses out.

One module per concept: `states` (checking, norms), `similarity` (sequence level), `centring`, `cka`, `neighbours`,
`token_alignment` (token level, paths, APS), `exact_best` (ties), `path_statistics` (monotonicity, consistency ...),
`monotone_paths` and `path_quality` (DTW, text-monotone path), `time_truth` (paths against the times of words),
`shuffle_null` (chance levels), `pair_null`, `pooled_pairs` and `pair_alignment` (all pairs of a shard at once),
`edit_targets` (frames an intervention edits).
NumPy only.
"""

from workflow_scripts.measures.centring import CENTRINGS, halves, held_out_means, massive_dimensions
from workflow_scripts.measures.cka import debiased_cka, layer_cka, null_cka, u_centred_gram
from workflow_scripts.measures.edit_targets import (
    EditTargets,
    VotedPath,
    all_entries,
    bottom_k,
    path_entry_scores,
    random_k,
    top_k,
    vote_path,
)
from workflow_scripts.measures.monotone_paths import (
    MonotonePath,
    WarpingPaths,
    dtw,
    frame_per_token,
    text_monotone_path,
)
from workflow_scripts.measures.neighbours import mutual_neighbours, neighbours_used, retrieval_at_1
from workflow_scripts.measures.pair_null import Bin, PairMeasurements, null_of_pairs, plan_pairs
from workflow_scripts.measures.path_quality import PathQuality, path_quality
from workflow_scripts.measures.path_statistics import collisions, consistency, monotonicity, violations
from workflow_scripts.measures.pooled_pairs import cosine_pairs, pooled_pairs
from workflow_scripts.measures.shuffle_null import (
    BestLayer,
    NullSummary,
    best_layer,
    best_layer_of_means,
    calibrate,
    derangements,
    length_bins,
    null_per_sample,
    p_value,
    summarise_null,
)
from workflow_scripts.measures.similarity import (
    PooledSimilarity,
    compare_means,
    pooled_similarity,
    sequence_means,
)
from workflow_scripts.measures.states import InvalidStates, Prepared, mean_over_layers, prepare
from workflow_scripts.measures.time_truth import (
    TimedTokens,
    TimeScores,
    position_seconds,
    proportional_scores,
    time_scores,
    time_tokens,
    uniform_scores,
)
from workflow_scripts.measures.token_alignment import (
    MetricAlignment,
    TokenAlignment,
    TokenSimilarity,
    alignment_path,
    token_alignment,
    token_similarity,
)

__all__ = [
    "CENTRINGS",
    "BestLayer",
    "Bin",
    "EditTargets",
    "InvalidStates",
    "MetricAlignment",
    "MonotonePath",
    "NullSummary",
    "PairMeasurements",
    "PathQuality",
    "PooledSimilarity",
    "Prepared",
    "TimeScores",
    "TimedTokens",
    "TokenAlignment",
    "TokenSimilarity",
    "VotedPath",
    "WarpingPaths",
    "alignment_path",
    "all_entries",
    "best_layer",
    "best_layer_of_means",
    "bottom_k",
    "calibrate",
    "collisions",
    "compare_means",
    "consistency",
    "cosine_pairs",
    "debiased_cka",
    "derangements",
    "dtw",
    "frame_per_token",
    "halves",
    "held_out_means",
    "layer_cka",
    "length_bins",
    "massive_dimensions",
    "mean_over_layers",
    "monotonicity",
    "mutual_neighbours",
    "neighbours_used",
    "null_cka",
    "null_of_pairs",
    "null_per_sample",
    "p_value",
    "path_entry_scores",
    "path_quality",
    "plan_pairs",
    "pooled_pairs",
    "pooled_similarity",
    "position_seconds",
    "prepare",
    "proportional_scores",
    "random_k",
    "retrieval_at_1",
    "sequence_means",
    "summarise_null",
    "text_monotone_path",
    "time_scores",
    "time_tokens",
    "token_alignment",
    "token_similarity",
    "top_k",
    "u_centred_gram",
    "uniform_scores",
    "violations",
    "vote_path",
]
