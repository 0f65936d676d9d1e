"""PEDANT, the scorer behind the `panda` column of VoiceBench's SD-QA: opt-in, for comparison with published numbers.

It is the code of qa_metrics 0.2.17, which is not installed with this workflow, and two pickles that the user supplies.
That version fetches its pickles from a moving branch whenever it is constructed, and other versions score the same
answers up to 27 points apart; hence the exact version, the exact SHA-256 of both files, and no call of its constructor:
nothing is downloaded, and nothing is unpickled that was not named by its hash. Unpickling runs code all the same.

A verdict is True if a reference is a substring of the answer (so "ten" is found in "often"), else a classifier's.
"""

import hashlib
import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

NAME = "panda"
VERSION = "1"
PACKAGE, PACKAGE_VERSION = "qa_metrics", "0.2.17"
INSTALL = f"pip install {PACKAGE}=={PACKAGE_VERSION} (it pins scikit-learn 1.3.2, whose wheels end at Python 3.12)"


class PandaError(RuntimeError):
    """The extra cannot be used as it is; the message names what is wrong and the remedy."""


@dataclass(frozen=True)
class PickleFile:
    """A pickle of the user and the SHA-256 (64 hexadecimal digits) it must have."""

    path: Path
    sha256: str

    def read(self) -> bytes:
        """Its bytes, checked.

        Raises:
            PandaError: not found, or another hash.
        """
        try:
            content = Path(self.path).read_bytes()
        except OSError as error:
            raise PandaError(
                f"{self.path}: cannot be read ({error.strerror}); scoring.panda names files that you have, this "
                "workflow does not fetch them"
            ) from error
        found = hashlib.sha256(content).hexdigest()
        if found != self.sha256.lower():
            raise PandaError(
                f"{self.path}: SHA-256 is {found}, scoring.panda lists {self.sha256}; it is not unpickled. Unpickling "
                "runs code: list the hash only of a file whose origin you trust"
            )
        return content


class Panda:
    """PEDANT with verified pickles.

    Attributes:
        facts: versions and hashes that decide the verdicts, for the output.
    """

    def __init__(self, classifier: PickleFile, vectorizer: PickleFile):
        """Check both files, then the package, and load.

        Raises:
            PandaError: a file is missing or has another hash, or the package is missing or another version.
        """
        contents = [file.read() for file in (classifier, vectorizer)]
        pedant, joblib = _package()
        # Not constructed: the constructor downloads and unpickles what a branch holds today.
        self._pedant = pedant.__new__(pedant)
        self._pedant.model, self._pedant.tokenizer = (joblib.load(io.BytesIO(content)) for content in contents)
        self.facts = {
            "scorer": f"{NAME} {VERSION}",
            PACKAGE: PACKAGE_VERSION,
            "scikit-learn": _version("scikit-learn"),
            "classifier_sha256": classifier.sha256.lower(),
            "vectorizer_sha256": vectorizer.sha256.lower(),
        }

    def correct(self, answer: str, references: Sequence[str], question: str) -> bool:
        """PEDANT's verdict; all three texts are lower-cased, as VoiceBench does. An empty answer is wrong.

        Raises:
            ValueError: there is no reference, or one without a word, which would match any answer.
        """
        if not references or not all(any(c.isalnum() for c in reference) for reference in references):
            raise ValueError(f"references {list(references)!r}: each needs a word, an empty one matches every answer")
        if not answer.strip():
            return False
        return bool(self._pedant.evaluate([one.lower() for one in references], answer.lower(), question.lower()))


def _package() -> tuple[Any, Any]:
    """(PEDANT class, joblib)."""
    found = _version(PACKAGE)
    if found != PACKAGE_VERSION:
        have = "is not installed" if found is None else f"is version {found}, whose scores differ"
        raise PandaError(f"scoring.panda needs {PACKAGE} {PACKAGE_VERSION}; it {have}. The extra `panda`: {INSTALL}")
    try:
        return importlib.import_module(f"{PACKAGE}.pedant").PEDANT, importlib.import_module("joblib")
    except ImportError as error:
        raise PandaError(f"{PACKAGE} cannot be imported ({error}). The extra `panda`: {INSTALL}") from error


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
