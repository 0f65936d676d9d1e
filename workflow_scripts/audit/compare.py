"""The gap under each scorer, with paired intervals; tests, agreement with a cascade, and what the scorers disagree on.

GAP = text - speech, in points of 100, over the same questions. Intervals are those of the workflow's gap table
(`statistics.means`): in closed form, paired over questions. Two gaps under two scorers are compared question by
question.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workflow_scripts.audit.given import GivenAnswer
from workflow_scripts.audit.verdicts import OURS, Verdict
from workflow_scripts.scoring.answer_traits import NAMES, answer_traits
from workflow_scripts.statistics.agreement import agreement_intervals, outcome_agreement
from workflow_scripts.statistics.means import POINTS, Mean, mean_of, of_ratios, of_scores
from workflow_scripts.statistics.paired_tests import mcnemar
from workflow_scripts.statistics.rates import rate_interval

ALL = "all"
ROUNDING = 1e-9
"""Differences below this, in points, are rounding."""
DIFFERENCES = {"gap": ("text", "speech"), "asr_loss": ("text", "asr"), "modality_loss": ("asr", "speech")}
"""gap = asr_loss + modality_loss where a cascade is given: what misheard words cost, and what is left for speech."""

GAP_COLUMNS = {
    **dict.fromkeys(("subset", "group", "scorer", "source", "form", "measure"), "str"),
    **dict.fromkeys(("value", "low", "high"), "float64"),
    "n": "Int64",
}
TEST_COLUMNS = {
    **dict.fromkeys(("subset", "scorer", "source"), "str"),
    **dict.fromkeys(("n", "text_only", "speech_only"), "Int64"),
    **dict.fromkeys(("difference", "low", "high", "p"), "float64"),
}
TRAIT_COLUMNS = {
    **dict.fromkeys(("subset", "form", "trait"), "str"),
    **dict.fromkeys(("share", "low", "high"), "float64"),
    "n": "Int64",
}
DISAGREEMENT_COLUMNS = {
    **dict.fromkeys(("subset", "form", "file"), "str"),
    "line": "Int64",
    "read": "str",
    "ours": "float64",
    "other": "str",
    "theirs": "float64",
    "answer": "str",
}
CASCADE_COLUMNS = {
    **dict.fromkeys(("subset", "scorer", "source", "measure"), "str"),
    **dict.fromkeys(("value", "low", "high", "null"), "float64"),
    "n": "Int64",
}


@dataclass(frozen=True)
class Subset:
    """One subset's pairs with their groups and verdicts."""

    name: str
    pairs: Sequence[Mapping[str, GivenAnswer]]
    groups: Sequence[str]
    verdicts: Sequence[Verdict]


def gap_rows(subset: Subset) -> list[dict[str, Any]]:
    """Scores, differences and unparsed shares of each scorer, for the subset and for each of its groups."""
    rows = []
    for verdict in subset.verdicts:
        rows += _rows(subset.name, ALL, verdict, means_of(verdict), len(subset.pairs))
        for group in sorted(set(subset.groups)) if len(set(subset.groups)) > 1 else ():
            place = np.flatnonzero(np.array(subset.groups) == group)
            found = {form: of_scores(100 * values[place]) for form, values in verdict.scores.items()}
            rows += _rows(subset.name, group or "none named", verdict, found, len(place), place)
    return rows


def means_of(verdict: Verdict) -> dict[str, Mean]:
    """Aggregates of a verdict by form in points of 100."""
    found = {}
    for form, values in verdict.scores.items():
        own = verdict.intervals.get(form)
        ends = None if own is None else (100 * own[0], 100 * own[1])
        sums = [(100 * np.asarray(above), np.asarray(below)) for above, below in verdict.sums.get(form, ())]
        mean = of_ratios(sums, POINTS, ends) if sums else of_scores(100 * values, own=ends)
        # An aggregate that pools over questions may differ from the mean of the scores: its questions move with it.
        value = 100 * verdict.means[form]
        shift = value - mean.value
        found[form] = replace(mean, value=value, values=mean.values + shift) if abs(shift) > ROUNDING else mean
    return found


def overall_rows(subsets: Sequence[Subset]) -> list[dict[str, Any]]:
    """Unweighted means over the subsets, for each source whose primary scorer is in all of them."""
    rows = []
    for source in dict.fromkeys(one.source for subset in subsets for one in subset.verdicts):
        chosen = [
            (subset, verdict)
            for subset in subsets
            for verdict in subset.verdicts
            if verdict.source == source and verdict.primary
        ]
        if len(chosen) < len(subsets) or len(subsets) < 2:
            continue
        by_subset = [means_of(verdict) for _, verdict in chosen]
        found = {form: mean_of([one[form] for one in by_subset]) for form in by_subset[0]}
        named = Verdict(source, source, True, {}, {})
        rows += _rows("overall", ALL, named, found, sum(len(subset.pairs) for subset in subsets))
    return rows


def _rows(
    subset: str,
    group: str,
    verdict: Verdict,
    found: Mapping[str, Mean],
    n: int,
    place: np.ndarray | slice = slice(None),
) -> list[dict[str, Any]]:
    keys = {"subset": subset, "group": group, "scorer": verdict.scorer, "source": verdict.source}
    shown = dict(found)
    shown |= {name: found[a] - found[b] for name, (a, b) in DIFFERENCES.items() if a in found and b in found}
    rows = []
    for form, one in shown.items():
        low, high = one.interval
        rows.append(keys | {"form": form, "measure": "score", "value": one.value, "low": low, "high": high, "n": n})
    for form, values in verdict.unparsed.items():
        rate = rate_interval(int(values[place].sum()), n, method="clopper-pearson")
        ends = {"value": rate.rate, "low": rate.low, "high": rate.high}
        rows.append(keys | {"form": form, "measure": "unparsed", "n": n} | ends)
    return rows


def test_rows(subset: Subset) -> list[dict[str, Any]]:
    """McNemar's exact test of right in writing against right in speech, for scorers of 0 and 1."""
    rows = []
    for verdict in subset.verdicts:
        if not verdict.graded:
            found = mcnemar(verdict.scores["speech"], verdict.scores["text"])
            rows.append(
                {
                    **{"subset": subset.name, "scorer": verdict.scorer, "source": verdict.source},
                    **{"n": found.n, "text_only": found.b, "speech_only": found.c, "p": found.p},
                    **{"difference": 100 * found.difference, "low": 100 * found.low, "high": 100 * found.high},
                }
            )
    return rows


def trait_rows(subset: Subset) -> list[dict[str, Any]]:
    """Share of answers by form that are empty, cut off, refusals, in another language or degenerate."""
    rows = []
    for form in subset.pairs[0]:
        found = [answer_traits(pair[form].answer, pair[form].finish_reason) for pair in subset.pairs]
        for trait in NAMES:
            rate = rate_interval(sum(getattr(one, trait) for one in found), len(found), method="clopper-pearson")
            rows.append(
                {"subset": subset.name, "form": form, "trait": trait, "n": rate.n}
                | {"share": rate.rate, "low": rate.low, "high": rate.high}
            )
    return rows


def cascade_rows(subset: Subset) -> list[dict[str, Any]]:
    """Do the spoken answers fail where the cascade fails? Kappa and overlap of errors (`statistics.agreement`)."""
    rows = []
    for verdict in subset.verdicts:
        if "asr" not in verdict.scores or verdict.graded:
            continue
        speech, asr = verdict.scores["speech"], verdict.scores["asr"]
        found = outcome_agreement(speech, asr)
        ends = agreement_intervals(speech, asr)
        for name, null in (("agreement", np.nan), ("kappa", 0.0), ("error_overlap", float(found.error_overlap_chance))):
            low, high = ends[name]
            rows.append(
                {"subset": subset.name, "scorer": verdict.scorer, "source": verdict.source, "measure": name}
                | {"value": float(getattr(found, name)), "low": low, "high": high, "null": null, "n": len(speech)}
            )
    return rows


def disagreements(subset: Subset, limit: int) -> list[dict[str, Any]]:
    """Answers whose score by another source differs from ours by half a point or more, at most `limit` of them."""
    primary = [verdict for verdict in subset.verdicts if verdict.primary]
    ours = next(verdict for verdict in primary if verdict.source == OURS)
    rows = []
    for verdict in primary:
        for form, values in verdict.scores.items():
            for place in np.flatnonzero(np.abs(values - ours.scores[form]) >= 0.5).tolist():
                answer = subset.pairs[place][form]
                row = {"subset": subset.name, "form": form, "file": str(answer.path), "line": answer.line}
                row |= {"read": ours.parsed[form][place], "ours": float(ours.scores[form][place])}
                rows.append(row | {"other": verdict.scorer, "theirs": float(values[place]), "answer": answer.answer})
    return rows[:limit]
