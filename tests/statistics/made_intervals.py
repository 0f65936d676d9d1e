"""Made data sets of every situation in which an interval is computed, each with the truth: `test_every_interval`."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from workflow_scripts.evaluation.cells import GAP, LOSS, SCORE, mean_cell, subset_cell
from workflow_scripts.evaluation.score_index import FormScores
from workflow_scripts.measures.probes import question_mean
from workflow_scripts.scoring.registry import find_scorer
from workflow_scripts.scoring.scorer import Score, plain_mean
from workflow_scripts.statistics.agreement import agreement_intervals
from workflow_scripts.statistics.group_tests import groups_interval
from workflow_scripts.statistics.logistic import logistic_fit
from workflow_scripts.statistics.means import (
    Mean,
    crossed_interval,
    difference_interval,
    mean_of,
    of_scores,
    student_interval,
)
from workflow_scripts.statistics.mediation import HALF, first_reaching, restored_shares
from workflow_scripts.statistics.paired_tests import mcnemar
from workflow_scripts.statistics.predictor_comparison import compare_predictors
from workflow_scripts.statistics.rates import rate_interval
from workflow_scripts.statistics.regression import linear_fit, r2_fisher_interval
from workflow_scripts.statistics.run_validation import r2_interval

DATA_SETS = 500
Covered = Iterator[tuple[float, float, float]]
"""Lower end, upper end, truth of one made data set."""
FIVE = [0.03, 0.12, 0.3, 0.08, 0.2]


def form(values, nll=(), tokens=(), **facts) -> FormScores:
    """Scores of one form in points, as read from a score file, without intervals of its own."""
    n, values = len(values), np.asarray(values, dtype=np.float64)
    given = {"nll": np.asarray(nll or [np.nan] * n), "tokens": np.asarray(tokens if len(tokens) else [0.0] * n)}
    given |= {"sums": [(values / 100, np.ones(n))], "mean": float(values.mean()), "measures": {}, "intervals": {}}
    names = {"path": None, "scorer": "x", "ids": tuple(map(str, range(n))), "scores": values, "parsed": ("",) * n}
    numbers = {"low": 0.0, "high": 100.0, "unparsed": 0.0, "nll_per_token": None, "chance": np.nan}
    return FormScores(**names | numbers | given | facts)


def gap_of(text: FormScores, speech: FormScores, measure=SCORE):
    return subset_cell({"text": text, "speech": speech})[measure, GAP].number


def flips(rng, n, lost, won):
    """Right and wrong answers in points: of `n` questions, each right with speech is lost, or won, with this rate."""
    text = rng.random(n) < 0.5
    flipped = rng.random(n) < np.where(text, 2 * lost, 2 * won)
    return 100.0 * text, 100.0 * (text ^ flipped)


def paired(n, lost, won) -> Covered:
    """Gap of right and wrong answers."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        yield *gap_of(*map(form, flips(rng, n, lost, won))).interval, 100 * (lost - won)


def fall(n, lost, won) -> Covered:
    """How far the gap has fallen since an earlier checkpoint with twice as many lost answers; twins are the same."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        first, last = (gap_of(*map(form, flips(rng, n, share, won))) for share in (2 * lost, lost))
        yield *(first - last).interval, 100 * lost


def overall_gap(n) -> Covered:
    """Mean of three subsets, in one of which nearly nothing flips: a component of the decline likewise."""
    rng = np.random.default_rng(n)
    rates = {"a": (0.03, 0.01), "b": (0.0, 0.0), "c": (0.15, 0.05)}
    for _ in range(DATA_SETS):
        cells = {}
        for name, (lost, won) in rates.items():
            text, speech = map(form, flips(rng, n, lost, won))
            cells[name] = subset_cell({"text": text, "speech": speech})
        yield *mean_cell(cells, list(rates))[SCORE, GAP].number.interval, 4.0


def overall_score(n) -> Covered:
    """Mean of the scores of four subsets, some of them near the end of the scale."""
    rng, rates = np.random.default_rng(n), (0.5, 0.9, 0.97, 0.8)
    for _ in range(DATA_SETS):
        yield *mean_of([of_scores(100.0 * (rng.random(n) < p)) for p in rates]).interval, 100 * np.mean(rates)


def instructions(n, level) -> Covered:
    """IFEval: mean of four pooled ratios, of one form or text minus speech; one to three instructions a prompt."""
    rng = np.random.default_rng(n)
    scorer = find_scorer("instruction_following")

    def scored(count, met):
        rows = [rng.random(k) < met + 0.15 * (k == 1) for k in count]
        return [Score(0.0, "", "", "", False, {"strict": row.tolist(), "loose": row.tolist()}) for row in rows]

    def made(scores):
        sums = [tuple(map(np.array, pair)) for pair in scorer.sums(scores)]
        return form([0.0] * n, sums=sums, mean=100 * scorer.mean(scores)[0])

    many = (
        scorer.mean(scored(rng.integers(1, 4, 60_000), 0.6))[0],
        scorer.mean(scored(rng.integers(1, 4, 60_000), 0.4))[0],
    )
    for _ in range(DATA_SETS):
        count = rng.integers(1, 4, n)
        text, speech = scored(count, 0.6), scored(count, 0.4)
        if level:
            found = scorer.mean(speech)[1]
            yield found.low, found.high, many[1]
        else:
            yield *gap_of(made(text), made(speech)).interval, 100 * (many[0] - many[1])


def word_errors(n, level) -> Covered:
    """Repeated sentences: most without an error, a few with many; in one form, or text minus speech."""
    rng = np.random.default_rng(n)

    def scored(n):
        words, rate = rng.integers(5, 15, n), rng.gamma(0.5, 0.24, n)
        return [100 * np.maximum(0.0, 1 - rng.poisson(k * rate * words) / words) for k in (0.5, 1.0)]

    truth = [values.mean() for values in scored(400_000)]
    for _ in range(DATA_SETS):
        text, speech = scored(n)
        if level:
            found = plain_mean([Score(value / 100, "", "", "", False) for value in speech])[1]
            yield found.low, found.high, truth[1] / 100
        else:
            yield *gap_of(form(text), form(speech)).interval, truth[0] - truth[1]


def losses(n, level) -> Covered:
    """Nats per token of reference answers of 1 to 7 tokens, a ratio of sums; of one form, or speech minus text."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        tokens = rng.integers(1, 8, n).astype(float)
        base = rng.gamma(6.0, 0.5, n)
        nats = [base * rng.gamma(20.0, rise / 20, n) * tokens for rise in (1.0, 1.4)]
        text, speech = (form([0.0] * n, nll=list(one), tokens=tokens) for one in nats)
        cell = subset_cell({"text": text, "speech": speech})
        yield *cell[LOSS, "speech" if level else GAP].number.interval, 3 * 1.4 if level else 3 * 0.4


def lens(n) -> Covered:
    """Recall of content words minus that of another question's: shares of few words, mostly both 0."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        words = rng.integers(2, 5, n)
        own, other = rng.binomial(words, 0.06) / words, rng.binomial(words, 0.02) / words
        yield *difference_interval(own - other, 1.0), 0.04


def probed(n, level) -> Covered:
    """Words told right by a probe, one to four of a question, which are easy or hard together; with its control task,
    of which three draws are averaged; the accuracy, or what it has above the control."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        words = rng.integers(1, 5, n)
        questions = np.repeat(np.arange(n), words)
        own, control = rng.beta(level * 4, (1 - level) * 4, n)[questions], rng.beta(1, 4, n)[questions]
        hits = (rng.random(len(questions)) < own).astype(float)
        accuracy = question_mean(hits, questions)
        if level > 0.9:
            yield *accuracy.interval, level
        else:
            drawn = (rng.random((3, len(questions))) < control).mean(axis=0)
            yield *(accuracy - question_mean(drawn, questions)).interval, level - 0.2


def share(n, p) -> Covered:
    """A share of answers, Clopper and Pearson's."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        found = rate_interval(int(rng.binomial(n, p)), n, method="clopper-pearson")
        yield found.low, found.high, p


def agreement(name) -> Covered:
    """Two systems that mostly fail on the same questions."""
    rng, cells = np.random.default_rng(3), np.array([0.45, 0.05, 0.08, 0.42])
    (neither, second), (first, both) = cells.reshape(2, 2)
    p, q = first + both, second + both
    chance = p * q + (1 - p) * (1 - q)
    truth = {"agreement": both + neither, "error_overlap": neither / (1 - both)}
    truth["kappa"] = (both + neither - chance) / (1 - chance)
    for _ in range(DATA_SETS):
        drawn = rng.choice(4, 40, p=cells)
        yield *agreement_intervals(drawn // 2, drawn % 2)[name], truth[name]


def crossed(conditions) -> Covered:
    """Gap over voices and questions, both drawn at random."""
    rng, n = np.random.default_rng(conditions), 40
    for _ in range(DATA_SETS):
        p = np.clip(0.3 + 0.1 * rng.standard_normal((conditions, 1)) + 0.15 * rng.standard_normal(n), 0.01, 0.99)
        yield *crossed_interval(100.0 * (rng.random(p.shape) < p), 100.0), 30.0


def crossed_losses(conditions) -> Covered:
    """Gap in nats over voices and questions, both drawn at random."""
    rng = np.random.default_rng(conditions)
    for _ in range(DATA_SETS):
        table = 1 + 0.3 * rng.standard_normal((conditions, 1)) + rng.gumbel(-np.euler_gamma, 1, 40)
        yield *crossed_interval(table + rng.standard_normal(table.shape), None), 1.0


def edits(n) -> Covered:
    """Answers under an edit, McNemar's table."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        before, after = (values / 100 for values in flips(rng, n, 0.02, 0.04))
        found = mcnemar(before, after)
        yield found.low, found.high, 0.02


SHARES = np.array([0.0, 0.1, 0.3, 0.45, 0.6, 0.9, 1.0])
"""Share that a patch restores, by layer: layer 4 is the first that restores half."""


def patched(n, layers):
    """Shares of patches at some layers of n questions, whose runs differ by 2 nats on average."""
    rng = np.random.default_rng(n)
    for seed in range(DATA_SETS):
        gap = rng.normal(2.0, 1.0, n)
        outcomes = SHARES[list(layers)] * gap[:, None] + rng.normal(0, 0.5, (n, len(layers)))
        yield restored_shares(outcomes, np.zeros(n), gap, 300, seed)


def restored(n) -> Covered:
    """The share that a patch restores: a ratio of means."""
    for shares in patched(n, layers=[4]):
        yield float(shares.low[0]), float(shares.high[0]), SHARES[4]


def first_layer(n) -> Covered:
    """First layer that restores half."""
    for shares in patched(n, range(len(SHARES))):
        low, high = np.quantile(first_reaching(shares.draws, HALF, len(SHARES)), [0.025, 0.975])
        yield low, high, 4


def over_runs(runs) -> Covered:
    """A mean over training runs."""
    rng = np.random.default_rng(runs)
    for _ in range(DATA_SETS):
        yield *student_interval(rng.normal(0.3, 0.2, runs)), 0.3


def line(what) -> Covered:
    """Slope and R2 of independent points."""
    rng = np.random.default_rng(2)
    for _ in range(DATA_SETS):
        x = rng.standard_normal(20)
        fit = linear_fit(x, 0.8 * x + 0.6 * rng.standard_normal(20))
        if what == "slope":
            yield fit.slope_low, fit.slope_high, 0.8
        else:
            found = r2_fisher_interval(fit.r2, fit.n)
            yield found.low, found.high, 0.64


def checkpoints(rng, runs):
    """Two measures and the gap over 8 checkpoints of each run, with levels and slopes of its own."""
    t = np.tile((np.arange(8) - 3.5) / 2.3, (runs, 1))

    def own(sd):
        return rng.normal(0, sd, (runs, 1))

    y = own(0.6) + (-1 + own(0.3)) * t + 0.4 * rng.standard_normal(t.shape)
    first = own(0.6) + (1 + own(0.3)) * t + 0.4 * rng.standard_normal(t.shape) - 0.5 * y
    second = own(0.8) + (0.8 + own(0.3)) * t + 0.6 * rng.standard_normal(t.shape)
    return (*(values.ravel() for values in (first, second, y)), np.repeat(np.arange(runs), 8))


def predictors(runs, what) -> Covered:
    """R2 over checkpoints of few runs, and the difference of two; the truth is that of many runs."""
    rng = np.random.default_rng(runs)
    first, second, y, _ = checkpoints(rng, 20_000)
    truth = [np.corrcoef(x, y)[0, 1] ** 2 for x in (first, second)]
    for _ in range(DATA_SETS):
        first, second, y, run = checkpoints(rng, runs)
        if what == "r2":
            yield *r2_interval(first, y, run), truth[0]
        else:
            found = compare_predictors(first, second, y, run)
            yield found.low, found.high, truth[0] - truth[1]


def answers(runs) -> Covered:
    """Log odds of right answers whose run decides a part of them."""
    rng = np.random.default_rng(runs)
    for _ in range(DATA_SETS // 4):
        run = np.repeat(np.arange(runs), 60)
        x = rng.standard_normal((run.size, 1))
        logit = 0.5 * x[:, 0] + 0.3 * rng.standard_normal(runs)[run]
        y = (rng.random(run.size) < 1 / (1 + np.exp(-logit))).astype(float)
        fit = logistic_fit(y, x, ["x"], run)
        yield fit.low[0], fit.high[0], 0.49 * x.std()  # the population's slope, a little below that within a run


def groups(n, loss) -> Covered:
    """Difference of the gaps of two groups of questions, the smaller one a quarter: in answers or in nats."""
    rng = np.random.default_rng(n)
    for _ in range(DATA_SETS):
        gaps = []
        for size, lost in ((n // 4, 0.3), (n - n // 4, 0.1)):
            if loss:
                gaps.append(Mean(0.0, rng.gamma(2.0, lost, size) - 2 * lost, None, paired=True))
                gaps[-1] = replace(gaps[-1], value=float(gaps[-1].values.mean()))
            else:
                gaps.append(gap_of(*map(form, flips(rng, size, lost, 0.05))))
        yield *groups_interval(*gaps), 0.0 if loss else 20.0


CASES = {
    "groups n=40": (groups, (40, False)),
    "groups n=100": (groups, (100, False)),
    "groups of losses n=80": (groups, (80, True)),
    "paired n=40": (paired, (40, 0.03, 0.01)),
    "paired n=20": (paired, (20, 0.05, 0.02)),
    "paired n=100": (paired, (100, 0.2, 0.1)),
    "fall n=40": (fall, (40, 0.03, 0.01)),
    "fall n=20": (fall, (20, 0.05, 0.02)),
    "overall gap n=40": (overall_gap, (40,)),
    "overall gap n=20": (overall_gap, (20,)),
    "overall score n=40": (overall_score, (40,)),
    "overall score n=20": (overall_score, (20,)),
    "IFEval gap n=40": (instructions, (40, False)),
    "IFEval score n=40": (instructions, (40, True)),
    "word errors gap n=20": (word_errors, (20, False)),
    "word errors gap n=40": (word_errors, (40, False)),
    "word errors score n=20": (word_errors, (20, True)),
    "word errors score n=40": (word_errors, (40, True)),
    "loss gap n=20": (losses, (20, False)),
    "loss gap n=40": (losses, (40, False)),
    "loss n=40": (losses, (40, True)),
    "lens n=20": (lens, (20,)),
    "probe accuracy n=40": (probed, (40, 0.95)),
    "probe selectivity n=40": (probed, (40, 0.6)),
    "probe selectivity n=20": (probed, (20, 0.3)),
    "share n=40": (share, (40, 0.03)),
    "agreement": (agreement, ("agreement",)),
    "kappa": (agreement, ("kappa",)),
    "error overlap": (agreement, ("error_overlap",)),
    "conditions 3": (crossed, (3,)),
    "conditions 8": (crossed, (8,)),
    "losses of conditions 3": (crossed_losses, (3,)),
    "losses of conditions 8": (crossed_losses, (8,)),
    "edits n=40": (edits, (40,)),
    "restored share n=40": (restored, (40,)),
    "first layer n=40": (first_layer, (40,)),
    "mean over 4 runs": (over_runs, (4,)),
    "slope": (line, ("slope",)),
    "R2 of points": (line, ("r2",)),
    "R2 over 4 runs": (predictors, (4, "r2")),
    "R2 over 8 runs": (predictors, (8, "r2")),
    "difference of R2 over 4 runs": (predictors, (4, "difference")),
    "difference of R2 over 8 runs": (predictors, (8, "difference")),
    "log odds over 8 runs": (answers, (8,)),
}
