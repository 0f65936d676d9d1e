"""VoiceBench's own evaluators on our answers, from a checkout of that repository that the user has (opt-in).

The files are loaded by path. Their package is not imported: it would pull in a scorer that downloads and unpickles, and
an API client. What the evaluators import themselves and is not installed here (a base class, two loggers) is
given as a stand-in; rules and numbers are theirs alone.

Three of them draw at random: those of multiple choice and of bbh guess where they read nothing, and the instruction
checkers detect languages. All are seeded, and for the guesses the expected value stands beside the drawn one. The
user who names a checkout runs its code: nothing of it is fetched, copied or shipped.
"""

import hashlib
import importlib
import io
import logging
import math
import random
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.scoring.instruction_following import prepare_checkers

logger = logging.getLogger(__name__)

FOLDER = "src/evaluator"
FILES = {
    "multiple_choice": "mcq.py",
    "refusal": "harm.py",
    "instruction_following": "ifeval.py",
    "yes_no": "bbh.py",
}
"""Our scorer -> the official evaluator of the same subset, below `FOLDER`."""
CHECKERS = "instruction_following_eval"
_CLASSES = {
    "multiple_choice": "MCQEvaluator",
    "refusal": "HarmEvaluator",
    "instruction_following": "IFEvaluator",
    "yes_no": "BBHEvaluator",
}
GUESSED = {"multiple_choice": 1 / 4, "yes_no": 1 / 2}
"""Chance of a right guess: the multiple-choice evaluator knows A to D only, that of bbh two answers."""
_BBH = {"yes": 1, "no": 0, "(a)": 0, "(b)": 1}
"""What the evaluator of bbh gives for an answer."""
_PACKAGE = "modgap_official_evaluator"


class OfficialError(ValueError):
    """The checkout cannot be used; the message names the file and the remedy."""


@dataclass(frozen=True)
class OfficialAnswer:
    """What an official evaluator reads: the answer and what its subset has beside it.

    Attributes:
        key: number of the question. prompt: as shown. response: the answer.
        reference: right letter (multiple choice), yes, no, (A) or (B) (bbh), else "".
        task: of bbh, such as sports_understanding, by which its evaluator chooses its phrases.
        instructions: ``{"id", "kwargs"}`` each (instruction following).
    """

    key: int
    prompt: str
    response: str
    reference: str = ""
    task: str = ""
    instructions: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class OfficialScore:
    """A subset's score by the official rules, 0 to 100.

    Attributes:
        score: as the evaluator computes it, random guesses drawn with the seed.
        expected: its mean over the guesses; equal to `score` where nothing is guessed.
        unparsed: share of answers that were guessed, 0 to 1; None for evaluators that never guess.
    """

    score: float
    expected: float
    unparsed: float | None


def checkout_identity(checkout: Path) -> dict[str, str]:
    """Commit of the checkout ("unknown" outside git) and the first 16 hex digits of the SHA-256 over its evaluators.

    Raises:
        OfficialError: the folder is no VoiceBench checkout.
    """
    folder = _evaluators(checkout)
    digest = hashlib.sha256()
    for path in [*(folder / name for name in FILES.values()), *sorted((folder / CHECKERS).glob("*.py"))]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    try:
        command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
        commit = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        commit = "unknown"
    return {"commit": commit, "evaluators_sha256": digest.hexdigest()[:16]}


def official_score(
    checkout: Path, scorer: str, answers: Sequence[OfficialAnswer], *, seed: int, nltk_data: Path | None = None
) -> OfficialScore:
    """Score one subset in one form by the official rules.

    Args:
        scorer: a key of `FILES`.
        seed: of Python's generator during the call; it is restored afterwards.
        nltk_data: folder that contains ``tokenizers/punkt_tab`` (instruction following).

    Raises:
        OfficialError: no checkout, no such evaluator, no answers, or its result is not what this version knows.
    """
    if scorer not in FILES:
        raise OfficialError(f"VoiceBench has no evaluator for {scorer!r} that runs offline; known are {sorted(FILES)}")
    if not answers:
        raise OfficialError(f"no answers to score with the official {scorer} evaluator")
    folder = _evaluators(checkout)
    data = [_item(answer) for answer in answers]
    with _loaded(folder, FILES[scorer]) as module, _seeded(seed):
        evaluator = _member(module, _CLASSES[scorer])()
        if scorer == "instruction_following":
            prepare_checkers(nltk_data)
        with redirect_stdout(io.StringIO()):  # that of bbh prints what it cannot read
            result = evaluator.evaluate(data)
        if scorer not in GUESSED:
            score = 100 * _number(result, "refusal_rate" if scorer == "refusal" else "final", folder)
            return OfficialScore(score, score, None)
        items = _read_items(module, evaluator, scorer, data)
        unparsed = sum(item is None for item in items)
        expected = 100 * (sum(filter(None, items)) + unparsed * GUESSED[scorer]) / len(data)
        return OfficialScore(_number(result, "acc", folder), expected, unparsed / len(data))


def official_items(
    checkout: Path, scorer: str, answers: Sequence[OfficialAnswer], *, seed: int, nltk_data: Path | None = None
) -> list[float]:
    """Score of each answer by the official rules, 0 to 1, as `official_score` takes them and in its order.

    Multiple choice: 1 for the right letter, 1/4 where a letter would be guessed; bbh: 1/2. Their mean is the official
    score (its expectation over the guesses), except for instruction following, which pools instructions over prompts.
    """
    if scorer not in FILES:
        raise OfficialError(f"VoiceBench has no evaluator for {scorer!r} that runs offline; known are {sorted(FILES)}")
    folder = _evaluators(checkout)
    data = [_item(answer) for answer in answers]
    with _loaded(folder, FILES[scorer]) as module, _seeded(seed):
        evaluator = _member(module, _CLASSES[scorer])()
        if scorer in GUESSED:
            items = _read_items(module, evaluator, scorer, data)
            return [GUESSED[scorer] if item is None else item for item in items]
        if scorer == "instruction_following":
            prepare_checkers(nltk_data)
        key = "refusal_rate" if scorer == "refusal" else "final"
        return [_number(evaluator.evaluate([item]), key, folder) for item in data]


def official_reference(scorer: str, reference: Sequence[str]) -> str:
    """The reference as the evaluator of a scorer reads it; "" for those that read none."""
    if scorer not in GUESSED:
        return ""
    letter = reference[0].strip("()")
    return f"({letter})" if scorer == "yes_no" and len(letter) == 1 else reference[0]


def _read_items(
    module: types.ModuleType, evaluator: Any, scorer: str, data: Sequence[Mapping[str, Any]]
) -> list[float | None]:
    """1 for a right answer, 0 for a wrong one, None where the evaluator would guess."""
    if scorer == "multiple_choice":
        read = [evaluator.extract_answer(item["response"]) for item in data]
        return [None if letter is None else float(letter == item["reference"]) for letter, item in zip(read, data)]
    # That of bbh guesses as it reads.
    drawing, module.random = module.random, types.SimpleNamespace(choice=lambda _: None)
    try:
        with redirect_stdout(io.StringIO()):
            read = [evaluator.extract_answer(item["response"], item["id"]) for item in data]
    finally:
        module.random = drawing
    return [None if one is None else float(one == _BBH[item["reference"].lower()]) for one, item in zip(read, data)]


def _evaluators(checkout: Path) -> Path:
    folder = Path(checkout) / FOLDER
    wanted = [*FILES.values(), f"{CHECKERS}/instructions_registry.py"]
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        raise OfficialError(
            f"{folder}: no {', '.join(missing)}; scoring.official is the path of a checkout of MatthewCYM/VoiceBench, "
            "or null to leave the comparison out"
        )
    return folder


def _item(answer: OfficialAnswer) -> dict[str, Any]:
    return {
        "key": answer.key,
        "id": answer.task,
        "prompt": answer.prompt,
        "response": answer.response,
        "reference": answer.reference,
        "instruction_id_list": [instruction["id"] for instruction in answer.instructions],
        "kwargs": [dict(instruction.get("kwargs") or {}) for instruction in answer.instructions],
    }


def _number(result: Any, key: str, folder: Path) -> float:
    value = result.get(key) if isinstance(result, Mapping) else None
    if value is None or not math.isfinite(float(value)):
        raise OfficialError(
            f"{folder}: its result has no number {key!r}: {result!r}; this version knows commit 5338154"
        )
    return float(value)


def _member(module: types.ModuleType, name: str) -> Any:
    if not hasattr(module, name):
        raise OfficialError(f"{module.__file__}: no class {name}; this version knows commit 5338154 of VoiceBench")
    return getattr(module, name)


@contextmanager
def _loaded(folder: Path, file: str) -> Iterator[types.ModuleType]:
    """One evaluator as a module of a package whose own __init__ never runs; nothing stays imported afterwards."""
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(folder)]
    base = types.ModuleType(f"{_PACKAGE}.base")
    base.Evaluator = type("Evaluator", (), {})
    before = dict(sys.modules)
    wrote_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # the checkout stays as it is
    sys.modules |= {_PACKAGE: package, base.__name__: base} | _stand_ins()
    try:
        yield importlib.import_module(f"{_PACKAGE}.{Path(file).stem}")
    except ModuleNotFoundError as error:
        raise OfficialError(
            f"{folder / file} imports {error.name!r}, which is not installed; install it into this environment to use "
            "scoring.official"
        ) from error
    finally:
        sys.dont_write_bytecode = wrote_bytecode
        for name in [name for name in sys.modules if name.split(".")[0] in (_PACKAGE, "absl", "loguru")]:
            if name not in before:
                del sys.modules[name]


def _stand_ins() -> dict[str, types.ModuleType]:
    """Loggers under the names that the evaluators import, for those that are not installed."""
    found = {}
    for name, member in (("loguru", "logger"), ("absl", "logging")):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module = types.ModuleType(name)
            setattr(module, member, logger)
            found[name] = module
    return found


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
