"""No room for a file, for real: a file-size limit makes the kernel refuse writes in the middle of each kind of file.

Each case runs in a process of its own, since HDF5 can crash the process that it fails in.
"""

import errno
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from workflow_scripts.artifacts.files import ArtifactError, disk_full_named, is_disk_full

ROOT = Path(__file__).parents[2]
LIMIT = 100_000
WRITERS = {
    "features.h5": """
        from workflow_scripts.artifacts.features import write_features
        noise = np.random.default_rng(0).normal(size=(4000, 64)).astype("f4")
        write_features(path, ["a"], [80.0], [4000], 64, [(0, noise)], {})
    """,
    "states.h5": """
        from workflow_scripts.artifacts.states import SampleStates, write_states
        noise = np.random.default_rng(0).integers(0, 0x3F00, size=(3, 300, 128)).astype("u2")
        spans, samples = [[(0, 1)] * 300], [(0, SampleStates(noise, noise))]
        write_states(path, ["a"], [30.0], [300], [["x"] * 300], spans, 2, 128, samples, "none", {})
    """,
    "audio.flac": """
        from workflow_scripts.speech.audio import write_flac
        write_flac(path, np.random.default_rng(0).normal(size=200_000).astype("f4") * 0.1)
    """,
    "table.csv": """
        from workflow_scripts.artifacts.tables import TEXT, write_columns
        write_columns(path, [{"a": "x" * 200_000}], {"a": TEXT})
    """,
    "adapter.safetensors": """
        from workflow_scripts.speech_lm.trainable.adapters import AdapterShape, SpeechAdapter
        from workflow_scripts.training.warm_up_adapter import write_adapter
        write_adapter(path, SpeechAdapter(AdapterShape(d_encoder=16, d_hidden=300, d_model=300)), {})
    """,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_without_room_is_named_and_the_old_one_stays(tmp_path, name):
    path = tmp_path / name
    path.write_text("old")
    start = (
        "import resource, numpy as np\n"
        "from pathlib import Path\n"
        f"path = Path({str(path)!r})\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, resource.RLIM_INFINITY))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", start + textwrap.dedent(WRITERS[name])], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 1, f"ended with {run.returncode}: {run.stderr}"
    last = run.stderr.splitlines()[-1]
    assert f"ArtifactError: {path}: the disk is full (" in last
    assert "run again; finished files are kept" in last
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), True),
        (RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("other"), False),
    ],
)
def test_a_full_disk_is_recognised_by_number_or_text_and_nothing_else_is(error, full):
    assert is_disk_full(error) is full
    wrapped = KeyError("later")
    wrapped.__cause__ = error
    assert is_disk_full(wrapped) is full


def test_a_failure_without_cause_counts_only_while_almost_nothing_is_free(tmp_path, monkeypatch):
    def write():
        with disk_full_named(tmp_path / "trainer"):
            raise RuntimeError("unexpected pos 576 vs 534")  # what torch.save says

    with pytest.raises(RuntimeError, match="unexpected pos"):
        write()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 4096))
    with pytest.raises(ArtifactError, match="trainer: the disk is full"):
        write()
