"""Statistics of the study: arrays in, frozen dataclasses out.

`regression` (fits, partial R2, Fisher interval), `run_validation` (leave-one-run-out, cluster bootstrap),
`predictor_comparison` (paired, over runs), `logistic` (answers, errors by run), `bootstrap` and `resampling` (paired,
over questions), `rates` (intervals of a rate), `paired_tests` (McNemar, Holm), `power` (what they can find).
"""
