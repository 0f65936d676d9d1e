"""Which written answer belongs to which spoken one: by id, hash, question text or order, and what does not pair.

No harness stores that. Within a subset the first of `KEYS` is used that every answer of all forms has, once each;
`--join` overrides it. Answers joined by id or order whose prompts or references differ are not pairs of one question.
Nothing is dropped silently: every answer without a partner is listed with its reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from workflow_scripts.audit.given import AuditError, GivenAnswer

KEYS = ("id", "hash", "text")
ORDER = "order"
FORMS = ("text", "speech", "asr")


@dataclass(frozen=True)
class Unpaired:
    """An answer without a partner."""

    form: str
    answer: GivenAnswer
    reason: str


@dataclass(frozen=True)
class Paired:
    """The pairs of one subset.

    Attributes:
        key: what they were joined by.
        pairs: answers by form of each question, sorted by id, else in the order of the text file; all have the
            same forms.
        unpaired: the rest, with reasons.
    """

    subset: str
    key: str
    pairs: list[dict[str, GivenAnswer]]
    unpaired: list[Unpaired]


def pair_answers(forms: Mapping[str, Sequence[GivenAnswer]], join: str = "auto") -> list[Paired]:
    """Pairs by subset.

    Args:
        forms: answers by form; `text` and `speech` are needed, `asr` may be there.
        join: `auto`, a name of `KEYS`, or `order`.

    Raises:
        AuditError: a key repeats within a form, no key is shared, or no answer pairs at all.
    """
    by_form = {form: _by_subset(answers) for form, answers in forms.items()}
    subsets = list(dict.fromkeys(subset for form in by_form.values() for subset in form))
    if len(subsets) == 2 and "" in subsets and all(len(found) == 1 for found in by_form.values()):
        # One file each, of which one says what it holds.
        name = next(subset for subset in subsets if subset)
        by_form, subsets = {form: {name: next(iter(found.values()))} for form, found in by_form.items()}, [name]
    found = [
        _pair_subset(subset, {form: answers.get(subset, []) for form, answers in by_form.items()}, join)
        for subset in subsets
    ]
    if not any(one.pairs for one in found):
        held = {form: sorted(answers) for form, answers in by_form.items()}
        reasons = sorted({one.reason for subset in found for one in subset.unpaired})
        raise AuditError(
            f"no answer pairs: the forms hold the subsets {held} ({'; '.join(reasons[:3])}); are they answers "
            "to the same questions?"
        )
    return found


def _by_subset(answers: Sequence[GivenAnswer]) -> dict[str, list[GivenAnswer]]:
    found: dict[str, list[GivenAnswer]] = {}
    for one in answers:
        found.setdefault(one.subset, []).append(one)
    return found


def _pair_subset(subset: str, forms: Mapping[str, list[GivenAnswer]], join: str) -> Paired:
    unpaired: list[Unpaired] = []
    if missing := [form for form, answers in forms.items() if not answers]:
        reason = f"no answers of form {missing[0]} in subset {subset!r}"
        return Paired(subset, "none", [], [Unpaired(form, one, reason) for form in forms for one in forms[form]])
    forms = {form: _without_fixed_text(answers) for form, answers in forms.items()}
    key = _shared_key(forms, subset) if join == "auto" else join
    indexed = {form: _indexed(answers, key) for form, answers in forms.items()}
    unpaired += [
        Unpaired(form, one, one.failed) for form, found in indexed.items() for one in found.values() if one.failed
    ]
    pairs = []
    names = sorted(indexed["text"]) if key == "id" else list(indexed["text"])
    for name in names:
        first = indexed["text"][name]
        partners = {form: found.get(name) for form, found in indexed.items()}
        if lacking := [form for form, one in partners.items() if one is None]:
            unpaired += [
                Unpaired(form, one, f"no {lacking[0]} answer with this {key}")
                for form, one in partners.items()
                if one is not None and not one.failed
            ]
        elif broken := [form for form, one in partners.items() if one.failed]:
            unpaired += [
                Unpaired(form, one, f"its {broken[0]} answer failed")
                for form, one in partners.items()
                if not one.failed
            ]
        elif reason := _differing(first, partners, key):
            unpaired += [Unpaired(form, one, reason) for form, one in partners.items()]
        else:
            pairs.append(partners)
    for form, found in indexed.items():
        rest = [one for name, one in found.items() if name not in indexed["text"] and not one.failed]
        unpaired += [Unpaired(form, one, f"no text answer with this {key}") for one in rest]
    return Paired(subset, key, pairs, unpaired)


def _without_fixed_text(answers: Sequence[GivenAnswer]) -> list[GivenAnswer]:
    """The answers without a text that all have: "Please listen to the audio" is not the question."""
    if len(answers) > 1 and len({one.keys.get("text") for one in answers}) == 1:
        return [
            replace(one, keys={key: value for key, value in one.keys.items() if key != "text"}, prompt="")
            for one in answers
        ]
    return list(answers)


def _shared_key(forms: Mapping[str, Sequence[GivenAnswer]], subset: str) -> str:
    """The first key that every answer has and that tells the answers of each form apart.

    Raises:
        AuditError: an id repeats, or there is no such key.
    """
    repeated = ""
    for key in KEYS:
        values = {form: [one.keys.get(key) for one in answers] for form, answers in forms.items()}
        if any(None in found for found in values.values()):
            continue
        if all(len(set(found)) == len(found) for found in values.values()):
            return key
        if key == "id":
            for form, answers in forms.items():
                _refuse_repeats(form, answers, key)
        repeated = key
    problem = f"their {repeated} repeats" if repeated else "no field is in all of them"
    raise AuditError(
        f"{forms['speech'][0].path}: the answers of subset {subset!r} cannot be told apart ({problem}); join them by "
        "--join order if both files hold the same questions in the same order, or add an id to each line"
    )


def _indexed(answers: Sequence[GivenAnswer], key: str) -> dict[str, GivenAnswer]:
    if key == ORDER:
        return {str(place): one for place, one in enumerate(answers)}
    for one in answers:
        if key not in one.keys:
            raise AuditError(f"{one.place}: no {key} to join by; use --join auto, or give --questions")
    _refuse_repeats("", answers, key)
    return {one.keys[key]: one for one in answers}


def _refuse_repeats(form: str, answers: Sequence[GivenAnswer], key: str) -> None:
    seen: dict[str, GivenAnswer] = {}
    for one in answers:
        if (name := one.keys[key]) in seen:
            shown = name if len(name) < 60 else name[:57] + "..."
            raise AuditError(f"{one.place}: a second {form} answer to {key} {shown!r}; the first is {seen[name].place}")
        seen[name] = one


def _differing(first: GivenAnswer, partners: Mapping[str, GivenAnswer], key: str) -> str:
    """Why answers with one key are not answers to one question; "" if they may be."""
    for form, other in partners.items():
        written, other_written = first.keys.get("text", ""), other.keys.get("text", "")
        # An asr prompt is a transcript: other words, the same question. A wrapper around the question is allowed.
        if form != "asr" and written not in other_written and other_written not in written:
            return f"the same {key}, but another prompt than the text answer's"
        if first.reference and other.reference and first.reference != other.reference:
            return f"the same {key}, but another reference than the text answer's"
    return ""
