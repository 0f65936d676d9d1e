"""Atomic files, full disks, CSV tables, shards, provenance and step logging."""

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.artifacts.files import (
    HOST,
    ArtifactError,
    atomic_path,
    one_of_many,
    read_json,
    read_text,
    remove_abandoned,
    write_text,
)
from workflow_scripts.artifacts.provenance import provenance, settings_hash
from workflow_scripts.artifacts.shards import select_shard, shard_names, split_shards

ROOT = Path(__file__).parents[2]


def test_full_disk_is_named_with_the_file_and_keeps_what_was_there(tmp_path):
    target = tmp_path / "table.csv"
    target.write_text("old")
    full = pytest.raises(ArtifactError, match=r"table\.csv: the disk is full .* finished files are kept")
    with full, atomic_path(target) as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


@given(n=st.integers(1, 60), per_shard=st.integers(2, 20), seed=st.integers(0, 9))
def test_shards_split_every_question_exactly_once_and_evenly(n, per_shard, seed):
    items = list(range(n))
    parts = [select_shard(items, name, seed) for name in shard_names(n, per_shard)]
    assert sorted(item for part in parts for item in part) == items
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert max(map(len, parts)) <= per_shard
    assert split_shards(items, len(parts), seed) == parts


@pytest.mark.parametrize("name", ["01-of-01", "0-of-1", "a", "00-of-00"])
def test_malformed_shards_are_refused(name):
    with pytest.raises(ValueError, match="shard"):
        select_shard([1, 2], name, 0)


def test_settings_hash_ignores_key_order_but_no_value():
    assert settings_hash({"a": 1, "b": 2}) == settings_hash({"b": 2, "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    assert provenance({"a": 1}, seed=3)["seed"] == 3


@pytest.mark.parametrize(("error", "traced"), [("ValueError", True), ("ArtifactError", False)])
def test_failing_step_ends_with_the_bare_message_and_logs_where_an_unforeseen_error_came_from(tmp_path, error, traced):
    program = textwrap.dedent(
        """
        from types import SimpleNamespace
        from workflow_scripts.artifacts.files import ArtifactError
        from workflow_scripts.artifacts.logs import run_step
        def step(s):
            raise ERROR("question nq-0001 has no text")
        run_step(SimpleNamespace(input=[], output=[], log=[r"LOG"]), step)
        """
    )
    program = program.replace("LOG", str(tmp_path / "step.log")).replace("ERROR", error)
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1] == f"{error}: question nq-0001 has no text"
    log = (tmp_path / "step.log").read_text()
    assert "question nq-0001 has no text" in log and ("Traceback" in log) == traced


def test_what_a_killed_writer_left_goes_when_the_file_is_written_again(tmp_path):
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom workflow_scripts.artifacts.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as part:\n"
        "    part.write_text('half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "x.csv"
    subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT)
    left = [entry.name for entry in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].endswith(".part")
    alive = tmp_path / f".x.csv.{HOST}.{os.getppid()}.part"  # of a process that runs
    elsewhere = tmp_path / ".x.csv.another-host.1.part"  # of another machine, written to a moment ago
    for part in (alive, elsewhere):
        part.write_text("half")
    write_text(path, "whole")
    assert {entry.name for entry in tmp_path.iterdir()} == {"x.csv", alive.name, elsewhere.name}
    os.utime(elsewhere, (0, 0))
    write_text(path, "whole")
    assert not elsewhere.exists()


def test_one_of_many_files_is_written_atomically_without_a_look_at_the_others(tmp_path, monkeypatch):
    path, left = tmp_path / "folder" / "x.flac", tmp_path / "folder" / f".x.flac.{HOST}.1.part"
    with one_of_many(path) as part:
        part.write_text("old")
    left.write_text("half")
    os.utime(left, (0, 0))
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", lambda *_: pytest.fail("the folder is listed"))
        with pytest.raises(KeyError), one_of_many(path) as part:
            part.write_text("half")
            raise KeyError
    assert path.read_text() == "old" and left.exists()
    remove_abandoned(path.parent)
    assert list(path.parent.iterdir()) == [path]


def test_json_that_is_cut_off_or_missing_is_named_with_what_makes_it(tmp_path):
    path = tmp_path / "manifest.json"
    with pytest.raises(ArtifactError, match=r"manifest\.json: not found; it is written by the manifest step"):
        read_json(path, "the manifest step")
    path.write_text('{"a": ')
    with pytest.raises(ArtifactError, match=r"manifest\.json: damaged .*delete it and run again \(the manifest step\)"):
        read_json(path, "the manifest step")


def test_a_directory_in_the_place_of_a_file_is_named_by_every_reader_of_text(tmp_path):
    (tmp_path / "here").mkdir()
    with pytest.raises(ArtifactError, match=r"here: cannot be read \(Is a directory\)"):
        read_text(tmp_path / "here", "a step")


def test_what_a_writer_left_goes_after_a_day_even_if_its_number_is_another_processs(tmp_path):
    part = tmp_path / f".a.txt.{HOST}.{os.getppid()}.part"
    part.write_text("x")
    write_text(tmp_path / "a.txt", "1")
    assert part.exists(), "its writer lives"
    os.utime(part, (1, 1))
    write_text(tmp_path / "a.txt", "2")
    assert not part.exists()
