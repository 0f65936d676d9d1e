"""Statistics of the study: arrays in, frozen dataclasses out.

`means` (means over questions, paired differences, their intervals), `rates` (intervals of a rate), `paired_tests`
(McNemar, Holm), `power` (what they can find), `agreement` (of two systems), `regression` (fits, partial R2, Fisher's
interval), `run_validation` (one run left out), `predictor_comparison` (paired, over runs), `logistic` (answers, errors
by run).
"""
