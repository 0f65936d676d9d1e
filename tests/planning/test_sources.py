"""What is remembered between runs of the sources, and of the digests made of them."""

import json

import pytest

from tests.planning.test_code import MAIN, USE
from workflow_scripts.planning.code import Code, CodeError
from workflow_scripts.planning.sources import Sources


def write_package(root):
    """On disk: a step that uses one function of another module."""
    for name, text in {"stage/step.py": f"{USE}\n{MAIN}", "core.py": "def used(s):\n    return s\n"}.items():
        (root / "workflow_scripts" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "workflow_scripts" / name).write_text(text)


def test_a_cache_changes_no_digest_and_a_damaged_one_is_made_again(tmp_path):
    write_package(tmp_path)
    cache = tmp_path / "cache.json"

    def digest(*cached):
        return Code(Sources(tmp_path, *cached)).step("stage/step.py").digest

    digests = {digest(cache), digest(cache)}
    assert set(json.loads(cache.read_text())["values"]) == {"workflow_scripts.core", "workflow_scripts.stage.step"}
    cache.write_text("{")
    (tmp_path / "digests.json").write_text("{")
    digests |= {digest(cache), digest()}
    assert len(digests) == 1
    (tmp_path / "workflow_scripts/core.py").write_text("def used(s):\n    return 2 * s\n")
    assert digest(cache) not in digests
    (tmp_path / "workflow_scripts/core.py").write_text("def used(s)\n")
    with pytest.raises(SyntaxError, match=r"core\.py"):
        digest(cache)


def test_a_digest_is_remembered_until_any_source_changes(tmp_path, monkeypatch):
    write_package(tmp_path)

    def step():
        return Code(Sources(tmp_path, tmp_path / "cache.json")).step("stage/step.py")

    first = step()
    with monkeypatch.context() as patch:
        patch.setattr(Sources, "get", lambda *_: pytest.fail("a module is read again"))
        assert step().digest == first.digest
    assert step().definitions == first.definitions, "read when they are asked for"
    (tmp_path / "workflow_scripts/core.py").write_text("# a comment\ndef used(s):\n    return s\n")
    assert step().digest == first.digest, "made again, of the same code"
    monkeypatch.setattr(Sources, "get", lambda *_: None)
    (tmp_path / "workflow_scripts/core.py").write_text("def used(s):\n    return 2 * s\n")
    with pytest.raises(CodeError):
        step()
