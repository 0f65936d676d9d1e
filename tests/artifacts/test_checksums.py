"""What was written, fetched or trained is what is read: replaced files are named, and nothing is hashed twice."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save_file

from workflow_scripts.artifacts import checksums, hdf5
from workflow_scripts.artifacts.asset_record import AssetRecord, FileRecord, SourceRecord, write_asset_record
from workflow_scripts.artifacts.checkpoints import CheckpointEntry, CheckpointIndex
from workflow_scripts.artifacts.files import ArtifactError, sha256_file
from workflow_scripts.artifacts.logs import run_step
from workflow_scripts.artifacts.utterances import Utterance


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _run(step, inputs=(), outputs=()) -> None:
    run_step(SimpleNamespace(input=inputs, output=outputs, log=[]), step)


def _write(path: str, text: str) -> str:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _run(lambda s: Path(path).write_text(text), outputs=[path])
    return path


def _refused(path: str) -> bool:
    """Whether a step refuses its input `path`; it must name it."""
    with pytest.raises(SystemExit) as stop:
        _run(lambda s: pytest.fail("the step ran"), inputs=[path])
    return path in str(stop.value)


def test_an_input_that_is_as_it_was_written_is_accepted_also_when_touched_or_without_a_note():
    path = _write("results/a/x.csv", "1")
    Path("results/a/own.csv").write_text("brought from elsewhere")
    os.utime(path)
    ran = []
    _run(ran.append, inputs=[path, "results/a/own.csv", "results/missing.csv"])
    assert ran


def test_answers_of_another_checkpoint_in_the_place_of_these_are_refused_by_name():
    other, path = _write("results/step-000000/x.jsonl", "aaaa"), _write("results/step-000030/x.jsonl", "bbbb")
    Path(path).write_bytes(Path(other).read_bytes())
    assert _refused(path)


def test_a_file_written_again_by_its_step_is_accepted():
    _write("results/x.csv", "1")
    path = _write("results/x.csv", "2")
    _run(lambda s: None, inputs=[path])


def test_a_file_is_hashed_once_for_any_number_of_readers(monkeypatch):
    path, hashed = _write("results/x.csv", "1"), []
    os.utime(path, (1, 1))  # as Snakemake touches what a job wrote
    monkeypatch.setattr(checksums, "sha256_file", lambda path: hashed.append(path) or sha256_file(path))
    for _ in range(3):
        _run(lambda s: None, inputs=[path])
    assert len(hashed) == 1


def test_an_hdf5_file_of_another_checkpoint_is_refused_without_reading_it_whole(monkeypatch):
    files = []
    for step in (0, 30):
        path = f"results/{step}/states.h5"

        def write(s, path=path, step=step):
            with hdf5.create(Path(path), "s/1", {"checkpoint": step}) as file:
                file["x"] = np.zeros((1000, 1000))

        _run(write, outputs=[path])
        files.append(path)
    monkeypatch.setattr(checksums, "sha256_file", lambda path: pytest.fail("read whole"))
    _run(lambda s: None, inputs=files)
    os.replace(*files)
    assert _refused(files[1])


def test_a_replaced_file_of_an_asset_is_refused_by_name():
    folder = Path("resources/a")
    folder.mkdir(parents=True)
    (folder / "weights.bin").write_bytes(b"0" * 9)
    files = {"weights.bin": FileRecord(sha256=sha256_file(folder / "weights.bin"), size=9)}
    source = SourceRecord(kind="path", path="x", format="files")
    record = write_asset_record(
        folder, AssetRecord(name="a", format="files", licence="MIT", source=source, files=files)
    )
    _run(lambda s: None, inputs=[str(record)])
    (folder / "weights.bin").write_bytes(b"1" * 9)
    with pytest.raises(
        ArtifactError, match=r"resources/a/weights\.bin: not the file that resources/a/asset\.json lists"
    ):
        checksums.check_inputs([record])
    (folder / "weights.bin").unlink()
    with pytest.raises(
        ArtifactError, match=r"resources/a/weights\.bin is missing but listed in resources/a/asset\.json"
    ):
        checksums.check_inputs([record])


def test_another_checkpoints_weights_in_the_place_of_these_are_refused():
    path = Path("results/training/m/checkpoints.json")
    for step in (0, 30):
        folder = path.parent / f"step-{step:06d}"
        folder.mkdir(parents=True)
        save_file({"w": np.full(4, step, np.float32)}, folder / "adapter.safetensors")
        (folder / "lslm.json").write_text(json.dumps({"step": step}))
    entries = [CheckpointEntry.of(path.parent / f"step-{step:06d}", step) for step in (0, 30)]
    index = CheckpointIndex(schema="checkpoints/1", model="m", checkpoints=entries, provenance={})
    assert index.folder(path, "step-000030") == path.parent / "step-000030"
    facts = path.parent / "step-000030" / "lslm.json"
    facts.write_bytes((path.parent / "step-000000" / "lslm.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"step-000030: its settings .* are not those of .*checkpoints\.json"):
        index.folder(path, "step-000030")
    before = [entry.model_copy(update={"settings_sha256": None}) for entry in entries]
    old = CheckpointIndex(schema="checkpoints/1", model="m", checkpoints=before, provenance={})
    assert old.folder(path, "step-000030"), "a run from before settings were recorded"
    moved = path.parent / "step-000000" / "adapter.safetensors"
    (path.parent / "step-000030" / "adapter.safetensors").write_bytes(moved.read_bytes())
    with pytest.raises(ArtifactError, match=r"step-000030: its weights are not those of .*checkpoints\.json"):
        index.folder(path, "step-000030")


def test_audio_replaced_by_noise_of_the_same_length_is_refused_by_name(workdir):
    path = workdir / "audio" / "q0.flac"
    path.parent.mkdir()
    path.write_bytes(b"speech")
    facts = {"id": "q0", "audio": "audio/q0.flac", "seconds": 1, "sample_rate": 16_000, "kept": True, "attempts": 1}
    row = Utterance(sha256=sha256_file(path), **facts)
    assert row.audio_file(workdir) == path
    path.write_bytes(b"noises")
    with pytest.raises(ArtifactError, match=r"q0\.flac: not the audio that the manifest lists"):
        row.audio_file(workdir)


def test_notes_lie_beside_the_results_and_a_damaged_note_is_as_none():
    path = _write("results/a/x.csv", "1")
    note = Path("results/.checksums/a/x.csv.json")
    assert json.loads(note.read_text())["written"] == sha256_file(Path(path))
    for damaged in ("{", "null", "[1]"):
        note.write_text(damaged)
        _run(lambda s: None, inputs=[path])


def test_files_outside_the_working_directory_keep_no_notes(tmp_path, monkeypatch):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    outside = _write("../x.csv", "1")
    _run(lambda s: None, inputs=[outside])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inside", "x.csv"]
