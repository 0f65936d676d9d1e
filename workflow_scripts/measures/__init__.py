"""Similarity and alignment of spoken and written forms: pure functions on arrays, frozen dataclasses out; NumPy only.

`registry` lists every measure and `reading` holds how the paper's open choices are read. What measures are computed
from: `states` (checking, norms), `pooled_pairs` (sequence vectors), `pair_alignment` (positions and paths), `cka`
(questions against questions). Parts of them: `vectors`, `centring`, `neighbours`, `exact_best` (ties of paths),
`path_statistics`, `path_quality` and `monotone_paths` (paths that respect time), `time_truth` (paths against the times
of words), `token_measures`. Chance levels: `shuffle_null`, `pair_null`. Token matrices of one question:
`token_alignment`; `edit_targets` chooses the frames that an intervention edits, `linear_erasure` takes a concept out of
vectors, `divergence` compares distributions of next tokens. `probes` fits linear classifiers (scikit-learn);
`word_kinds` tells numbers and names in a prompt.
"""
