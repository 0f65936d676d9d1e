"""The panda extra without its package: verified files, exact version, no construction, no download."""

import hashlib
import io
import pickle
import sys
import types

import pytest

from workflow_scripts.scoring import panda
from workflow_scripts.scoring.panda import Panda, PandaError, PickleFile


class StandIn:
    """PEDANT's interface: the constructor would download; verdicts come from what was unpickled."""

    def __init__(self):
        raise AssertionError("constructing it downloads and unpickles what a branch holds today")

    def evaluate(self, references, candidate, question):
        self.asked = (references, candidate, question)
        return any(one in candidate for one in references) or candidate in self.model["correct"]


@pytest.fixture
def package(monkeypatch):
    """qa_metrics 0.2.17 and joblib as far as they are used; the test's pickles hold plain dictionaries."""
    module = types.ModuleType("qa_metrics.pedant")
    module.PEDANT = StandIn
    joblib = types.ModuleType("joblib")
    joblib.load = lambda source: (
        pickle.load(source) if isinstance(source, io.BytesIO) else pytest.fail("not from bytes")
    )
    monkeypatch.setitem(sys.modules, "qa_metrics", types.ModuleType("qa_metrics"))
    monkeypatch.setitem(sys.modules, "qa_metrics.pedant", module)
    monkeypatch.setitem(sys.modules, "joblib", joblib)
    monkeypatch.setattr(panda, "_version", {"qa_metrics": "0.2.17", "scikit-learn": "1.3.2"}.get)


@pytest.fixture
def files(tmp_path):
    found = []
    for name, content in (("classifier", {"correct": ["city of light"]}), ("vectorizer", {})):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(content))
        found.append(PickleFile(path, hashlib.sha256(path.read_bytes()).hexdigest()))
    return found


def test_verdicts_come_from_the_package_with_lower_case_texts(package, files):
    pedant = Panda(*files)
    assert pedant.correct("In PARIS", ["Paris", "Paname"], "Which City?") is True
    assert pedant.correct("City of Light", ["Paris"], "Which City?") is True
    assert pedant.correct("London", ["Paris"], "Which City?") is False
    assert pedant._pedant.asked == (["paris"], "london", "which city?")


def test_versions_and_hashes_are_recorded(package, files):
    facts = Panda(*files).facts
    assert (facts["qa_metrics"], facts["scikit-learn"]) == ("0.2.17", "1.3.2")
    assert facts["classifier_sha256"] == files[0].sha256


def test_an_unlisted_hash_is_refused_and_the_file_is_not_unpickled(package, files, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    bomb = tmp_path / "bomb"
    bomb.write_bytes(pickle.dumps(Bomb()))
    for changed in ((PickleFile(bomb, files[0].sha256), files[1]), (files[0], PickleFile(bomb, files[1].sha256))):
        with pytest.raises(PandaError, match=r"bomb: SHA-256 is .* it is not unpickled"):
            Panda(*changed)


def test_a_missing_file_is_named_and_nothing_is_fetched(package, files, tmp_path):
    with pytest.raises(PandaError, match=r"gone: cannot be read .* this workflow does not fetch them"):
        Panda(files[0], PickleFile(tmp_path / "gone", "0" * 64))


def test_another_version_or_none_is_refused_and_the_extra_is_named(package, files, monkeypatch):
    monkeypatch.setattr(panda, "_version", lambda name: "0.2.30")
    with pytest.raises(PandaError, match=r"needs qa_metrics 0\.2\.17; it is version 0\.2\.30, whose scores differ"):
        Panda(*files)
    monkeypatch.setattr(panda, "_version", lambda name: None)
    with pytest.raises(PandaError, match=r"it is not installed\. The extra `panda`: pip install qa_metrics==0\.2\.17"):
        Panda(*files)


def test_empty_answers_are_wrong_and_empty_references_are_refused(package, files):
    pedant = Panda(*files)
    assert pedant.correct("  ", ["Paris"], "?") is False
    for references in ([], ["Paris", " ?! "]):
        with pytest.raises(ValueError, match="each needs a word"):
            pedant.correct("Paris", references, "?")


def test_the_package_is_no_dependency_of_the_default_environment():
    from pathlib import Path

    root = Path(__file__).parents[2]
    for name in ("requirements.in", "requirements.txt", "envs/analysis.yaml", "envs/models.yaml"):
        assert "qa_metrics" not in (root / name).read_text().replace("-", "_")
