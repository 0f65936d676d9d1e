"""Every interval that a table holds covers the truth as often as it says, and none has zero width.

`CASES` simulates the situations in which intervals have failed: few answers that flip, pooled instructions, crowded
word error rates, heavy-tailed losses, few runs. `WRITTEN` says for every pair of columns of every table which functions
make it. A new column, or a new function of `statistics` that gives an interval, fails here until it has a case.
"""

import importlib
import pkgutil

import numpy as np
import pytest

import workflow_scripts
from tests.statistics import made_intervals
from tests.statistics.made_intervals import CASES
from workflow_scripts import statistics
from workflow_scripts.artifacts.tables import TABLES
from workflow_scripts.scoring.scorer import Score, plain_mean

TWO_SIDED = ("loss", "mean over", "slope", "R2 of points", "difference of R2")
"""Intervals that are meant to be right, not safe: they must not cover much more than they say either."""
WHOLE = ("first layer",)
"""Whole numbers, so both ends can be the same."""
ROUGH = {"R2 over": 0.90, "log odds": 0.90}
"""R2 of few runs is biased and its interval with it, errors clustered by few runs are known to be too small: what they
cover at least. The tables call them rough."""


@pytest.mark.parametrize("name", CASES)
def test_it_covers_the_truth_and_always_has_a_width(name):
    make, arguments = CASES[name]
    low, high, truth = np.array(list(make(*arguments))).T
    assert (low < high).all() if not name.startswith(WHOLE) else (low <= high).all()
    covered, least = ((low <= truth) & (truth <= high)).mean(), 0.93
    least = next((share for rough, share in ROUGH.items() if name.startswith(rough)), least)
    slack = 2.6 * np.sqrt(least * (1 - least) / len(low))  # one failure in 200 of a case that is just good enough
    assert covered >= least - slack
    if name.startswith(TWO_SIDED):
        assert covered <= 0.97 + slack


WRITTEN = {
    "gap low": ("paired", "fall", "overall", "IFEval", "word errors", "loss", "share"),
    "decline low": ("paired", "overall"),
    "points low": ("overall gap",),  # rows of gap.csv
    "cascade low": ("agreement", "kappa", "error overlap", "share"),
    "twins change_low": ("fall", "loss gap"),
    "tags low": ("paired", "loss gap"),
    "tags difference_low": ("groups",),
    "conditions low": ("paired", "share", "word errors", "loss gap", "conditions", "losses of conditions"),
    "regression slope_low": ("slope",),
    "regression r2_low": ("R2 of points",),
    "regression r2_runs_low": ("R2 over",),
    "comparisons r2_difference_low": ("difference of R2",),
    "answers_regression low": ("log odds",),
    "lens difference_low": ("lens",),
    "claims low": ("mean over", "R2 over", "difference of R2"),
    "tests difference_low": ("edits",),
    "patching share_low": ("restored share",),
    "patching_tags low": ("loss gap",),
    "patching_tags difference_low": ("groups",),
    "patching_profiles first_low": ("first layer",),
    "attention share_low": ("share",),
    "knockout change_low": ("loss gap",),
    "knockout difference_low": ("loss gap",),
    "probes accuracy_low": ("probe accuracy",),
    "probes selectivity_low": ("probe selectivity",),
    "tests nll_change_low": ("loss gap",),
    "tests kl_change_low": ("loss gap",),
    "tests r2_before_low": ("loss gap",),  # a ratio of sums over questions, as losses by tokens are
    "tests r2_after_low": ("loss gap",),
    "floors low": ("paired", "share", "word errors", "IFEval"),
    "SKILL_COLUMNS low": ("paired", "share", "word errors"),
    "GAP_COLUMNS low": ("paired", "share", "IFEval", "word errors", "overall"),
    "TEST_COLUMNS low": ("edits",),
    "TRAIT_COLUMNS low": ("share",),
    "CASCADE_COLUMNS low": ("agreement", "kappa", "error overlap"),
    "COLUMNS low": ("fall",),  # conclusions of an audit: the gaps of two scorers on the same answers
}


def modules(package):
    found = pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    return [importlib.import_module(one.name) for one in found if not one.name.endswith("__main__")]


def test_every_interval_column_of_every_table_has_its_cases():
    declared = dict(TABLES)
    for stage in ("evaluation", "audit", "correlation", "intervention"):
        for module in modules(importlib.import_module(f"{workflow_scripts.__name__}.{stage}")):
            declared |= {name: value for name, value in vars(module).items() if name.endswith("COLUMNS")}
    found = {
        f"{table} {column}"
        for table, columns in declared.items()
        for column in columns
        if column == "low" or column.endswith("_low")
    }
    assert found == set(WRITTEN)
    for cases in WRITTEN.values():
        for one in cases:
            assert any(name.startswith(one) for name in CASES), one


def test_every_function_of_an_interval_is_simulated(monkeypatch):
    """Each public `*_interval(s)` function of the package, and no other way to an interval than these and the fits."""
    functions = {
        (module, name)
        for module in modules(statistics)
        for name, value in vars(module).items()
        if name.endswith(("_interval", "_intervals")) and value.__module__ == module.__name__ and name[0] != "_"
    }
    called = set()
    for module, name in functions:
        original = getattr(module, name)

        def watched(*args, _name=name, _original=original, **kwargs):
            called.add(_name)
            return _original(*args, **kwargs)

        for user in [*modules(statistics), made_intervals]:
            if getattr(user, name, None) is original:
                monkeypatch.setattr(user, name, watched)
    for make, arguments in CASES.values():
        next(make(*arguments))
    scored = plain_mean([Score(value, "", "", "", False) for value in (0.2, 0.9, 1.0)])[1]
    assert scored.method == "korn-graubard"
    assert {name for _, name in functions} - called <= {"graded_interval"}
