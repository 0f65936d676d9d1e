"""Statistics of the study: arrays in, frozen dataclasses out.

`regression` (fits, partial R2, Fisher interval), `run_validation` (leave-one-run-out, cluster bootstrap),
`predictor_comparison` (paired, over runs), `logistic` (answers, errors by run), `bootstrap` (paired, over items),
`rates` (intervals of a rate), `paired_tests` (McNemar, Holm), `power` (what they can find). NumPy and scipy only.
"""

from workflow_scripts.statistics.bootstrap import (
    BootstrapInterval,
    mean_of_subsets_bootstrap,
    paired_bootstrap,
)
from workflow_scripts.statistics.logistic import LogisticFit, logistic_fit
from workflow_scripts.statistics.paired_tests import (
    McNemar,
    exact_mcnemar_p,
    holm,
    mcnemar,
    mcnemar_from_counts,
)
from workflow_scripts.statistics.power import fewest_discordant, minimal_detectable_effect
from workflow_scripts.statistics.predictor_comparison import PredictorComparison, compare_predictors
from workflow_scripts.statistics.rates import RateInterval, rate_interval
from workflow_scripts.statistics.regression import (
    Interval,
    LinearFit,
    PartialR2,
    fit_per_group,
    group_dummies,
    linear_fit,
    partial_r2,
    r2_fisher_interval,
)
from workflow_scripts.statistics.run_validation import (
    ClusterBootstrap,
    LeaveOneRunOut,
    cluster_bootstrap_r2,
    leave_one_run_out_q2,
)

__all__ = [
    "BootstrapInterval",
    "ClusterBootstrap",
    "Interval",
    "LeaveOneRunOut",
    "LinearFit",
    "LogisticFit",
    "McNemar",
    "PartialR2",
    "PredictorComparison",
    "RateInterval",
    "cluster_bootstrap_r2",
    "compare_predictors",
    "exact_mcnemar_p",
    "fewest_discordant",
    "fit_per_group",
    "group_dummies",
    "holm",
    "leave_one_run_out_q2",
    "linear_fit",
    "logistic_fit",
    "mcnemar",
    "mcnemar_from_counts",
    "mean_of_subsets_bootstrap",
    "minimal_detectable_effect",
    "paired_bootstrap",
    "partial_r2",
    "r2_fisher_interval",
    "rate_interval",
]
