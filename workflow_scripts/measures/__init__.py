"""Similarity and alignment of spoken and written forms: pure functions on arrays, frozen dataclasses out.

One module per concept: `states` (checking, norms), `similarity` (sequence level), `token_alignment` (token
level, paths, APS), `path_statistics` (monotonicity, consistency ...), `monotone_paths` (DTW, text-monotone
path), `shuffle_null` (chance levels), `edit_targets` (frames an intervention edits). NumPy only.
"""

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
from workflow_scripts.measures.path_statistics import collisions, consistency, monotonicity, violations
from workflow_scripts.measures.shuffle_null import (
    BestLayer,
    NullSummary,
    best_layer,
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
from workflow_scripts.measures.token_alignment import (
    MetricAlignment,
    TokenAlignment,
    TokenSimilarity,
    alignment_path,
    token_alignment,
    token_similarity,
)

__all__ = [
    "BestLayer",
    "EditTargets",
    "InvalidStates",
    "MetricAlignment",
    "MonotonePath",
    "NullSummary",
    "PooledSimilarity",
    "Prepared",
    "TokenAlignment",
    "TokenSimilarity",
    "VotedPath",
    "WarpingPaths",
    "alignment_path",
    "all_entries",
    "best_layer",
    "bottom_k",
    "calibrate",
    "collisions",
    "compare_means",
    "consistency",
    "derangements",
    "dtw",
    "frame_per_token",
    "length_bins",
    "mean_over_layers",
    "monotonicity",
    "null_per_sample",
    "p_value",
    "path_entry_scores",
    "pooled_similarity",
    "prepare",
    "random_k",
    "sequence_means",
    "summarise_null",
    "text_monotone_path",
    "token_alignment",
    "token_similarity",
    "top_k",
    "violations",
    "vote_path",
]
