"""Every kind of file of a finished study, damaged in every way, and what the step that reads it makes of it."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401 (its filters)

from benchmarks.faults.damage import damages, give_up_rights, restore
from benchmarks.faults.outcomes import Fault, outcome_of_error
from benchmarks.faults.running import End, run_apart, run_job
from benchmarks.faults.study import NAME
from workflow_scripts.artifacts.hdf5 import CHECKSUM
from workflow_scripts.settings import ConfigError, read_study
from workflow_scripts.step import Job

SLOW = ("train_model", "build_manifest", "build_report", "edit_answers")
"""Rules that read a file only where no other does."""
CHECKPOINT = "results/training/tiny/step-000002"
UNLISTED = {
    "resources/backbone/config.json": "answer_questions_base",
    "resources/backbone/model.safetensors": "answer_questions_base",
    "resources/backbone/tokenizer.json": "answer_questions_base",
    "resources/backbone/tokenizer_config.json": "answer_questions_base",
    "resources/backbone/chat_template.jinja": "answer_questions_base",
    "resources/whisper/config.json": "encode_speech",
    "resources/whisper/model.safetensors": "encode_speech",
    "resources/whisper/preprocessor_config.json": "encode_speech",
    "resources/data/short.csv": "build_questions",
    f"{CHECKPOINT}/adapter.safetensors": "answer_questions",
    f"{CHECKPOINT}/lora/adapter_model.safetensors": "answer_questions",
    f"{CHECKPOINT}/lora/adapter_config.json": "answer_questions",
    f"{CHECKPOINT}/lslm.json": "answer_questions",
}
"""Files that a step reads though its rule does not list them as input, with the rule."""
SPOKEN = "results/speech/tones/short"
NOTE = "results/.checksums/evaluation/tiny/step-000002/short/text.00-of-01.answers.jsonl.json"
PASSING = re.compile(rb'"(?:seconds|code_version)": ?(?:[0-9.e+-]+|"[^"]*")')
"""What differs from run to run: how long an answer took, and the commit of the checkout, which may be edited."""
VERSION = re.compile(rb'\\"code_version\\": \\"[^"]*"')
"""The commit, in the header of weights."""
HASHES = re.compile(rb"[0-9a-f]{12,64}(?:-dirty)?")
"""Of such files; the files themselves are compared."""
MINUTES = re.compile(rb'(<tr><td>[^<]*</td><td class="number">\d+</td>)<td class="number">[\d.]+</td>')
"""Of training, in that section of the page."""
STAGES = re.compile(rb'"wall_seconds": ?\{[^}]*\}|aria-label="Time per stage".*?</table>', re.DOTALL)
"""Times of the jobs by stage, in the manifest and on the page."""


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: for the table.
        path: one file of the kind, below the study's folder.
        others: files of the same kind from another place.
        read: runs what reads the file, in a process of its own; what is given is called there first.
    """

    name: str
    path: Path
    others: tuple[Path, ...]
    read: Callable[[Callable[[], None]], End]


def kinds(folder: Path, jobs: Sequence[Job]) -> list[Kind]:
    """Every kind of file that some job of the study in `folder` reads, with the first job that does."""
    readers: dict[str, Job] = {}
    for job in sorted(jobs, key=lambda job: job.rule in SLOW):
        for path in job.snakemake.input:
            if path.startswith(("results/", "resources/")):
                readers.setdefault(path, job)
    for path, rule in UNLISTED.items():
        about = Path(path).parts[2].removeprefix("tiny") if path.startswith("results") else ""
        readers[path] = _job(jobs, rule, "step-000002/short" if rule == "answer_questions" else "short", about)
    audio = sorted((folder / SPOKEN / "audio").glob("*.flac"))
    readers |= {str(path.relative_to(folder)): _job(jobs, "encode_speech", "short") for path in audio}
    readers[NOTE] = _job(jobs, "score_answers", "step-000002/short")
    groups: dict[str, list[Path]] = {}
    for path in readers:
        groups.setdefault(_kind(Path(path)), []).append(Path(path))
    found = []
    for name, paths in groups.items():
        # Of a kind the last is damaged: of checkpoints, the one that differs from the untrained model.
        there = [one for one in paths if (folder / one).is_file()]
        if not there:
            continue  # temporary, gone by now
        *others, path = there
        if path.parent.parts[-2:] == Path(CHECKPOINT).parts[-2:]:
            others = [Path(str(path).replace("step-000002", "step-000000"))]
        job = readers[str(path)]
        read = lambda before, job=job: run_job(job, folder, before)  # noqa: E731
        found.append(Kind(name, path, tuple(folder / one for one in others[:3]), read))
    for name in ("config.yaml", NAME):
        read = lambda before: run_apart(lambda: (before(), _read_config()), folder)  # noqa: E731
        found.append(Kind(name, Path(name), (), read))
    return found


def _read_config() -> None:
    """What `make all` does first."""
    try:
        read_study(Path(), [NAME])
    except ConfigError as error:
        sys.exit(str(error))


def _job(jobs: Sequence[Job], rule: str, *texts: str) -> Job:
    """The first job of a rule with these texts in the path of its first output, or of the rule."""
    own = [job for job in jobs if job.rule == rule]
    return next((job for job in own if all(text in job.snakemake.output[0] for text in texts)), own[0])


def _kind(path: Path) -> str:
    """`evaluation/answers.jsonl` of results/evaluation/tiny/step-000002/short/text.00-of-01.answers.jsonl."""
    top, *_ = path.parts
    if top == "resources":
        return str(Path(*path.parts)) if path.name != "asset.json" else "resources/asset.json"
    if path.suffix in (".flac", ".svg", ".csv"):
        return f"{path.parts[1]}/{path.suffix}"
    name = re.sub(r"^(?:text|speech|asr|silence|other)\.(?=\d|scores)|\d\d-of-\d\d\.", "", path.name)
    return f"{path.parts[1]}/{name}"


def try_kinds(
    kinds: Sequence[Kind], folder: Path, pristine: Path, *, noted: bool = True, every: int = 1
) -> Iterator[Fault]:
    """Damage each kind in each way and run its reader.

    Args:
        folder: the finished study; it is as before afterwards.
        pristine: a copy of it.
        noted: whether the steps' notes of what they wrote are there (artifacts.checksums).
        every: only every so many ways, for a short form.
    """
    part = "files" if noted else "files without notes"
    for kind in kinds:
        end = kind.read(lambda: None)
        if end.status or differing(folder, pristine):
            raise RuntimeError(f"{kind.path}: undamaged, its reader gives other results: {end.message}")
        restore(folder, pristine)
        for name, damage in list(damages(pristine / kind.path, kind.others))[::every]:
            damage(folder / kind.path)
            end = kind.read(give_up_rights if name == "not readable" else (lambda: None))
            yield Fault(part, kind.name, f"{kind.path}, {name}", *_outcome(end, kind, folder, pristine, noted))
            restore(folder, pristine, [kind.path])


def _outcome(end: End, kind: Kind, folder: Path, pristine: Path, noted: bool) -> tuple[str, str]:
    if end.status:
        # A checkpoint is one thing of several files: naming its folder is enough.
        names = [str(kind.path)] + ([CHECKPOINT] if str(kind.path).startswith(CHECKPOINT) else [])
        # A config that is cut off is often valid, and what is missing is missed by the other file.
        names += ["config.yaml", NAME] if kind.path.name in ("config.yaml", NAME) else []
        return outcome_of_error(end.message, names), end.message
    if different := differing(folder, pristine, leave_out=(kind.path,)):
        return ("silent" if noted else "taken"), f"differ: {', '.join(map(str, different[:3]))}"
    return "harmless", ""


def differing(folder: Path, pristine: Path, leave_out: Sequence[Path] = ()) -> list[Path]:
    """Results whose content differs between two folders, apart from how long answers took."""
    found = []
    for name in compared_files(folder, pristine):
        if name in leave_out:
            continue
        one, other = folder / name, pristine / name
        if not (one.is_file() and other.is_file()) or _content(one) != _content(other):
            found.append(name)
    return found


def compared_files(folder: Path, pristine: Path) -> list[Path]:
    """Results in one of two studies' folders or in both, without notes, times and the record of the code."""
    names = {path.relative_to(root) for root in (folder, pristine) for path in (root / "results").rglob("*")}
    kept = (name for name in names if name.parts[1] not in (".checksums", "rule_times", "code"))
    return sorted(name for name in kept if not ((folder / name).is_dir() and (pristine / name).is_dir()))


def _content(path: Path) -> bytes:
    content = _hdf5_content(path) if path.suffix == ".h5" else path.read_bytes()
    if path.name == "log.csv":  # the last column is the time
        return b"\n".join(line.rpartition(b",")[0] for line in content.splitlines())
    if path.suffix == ".safetensors":  # the length of a header in JSON, the header, numbers
        end = 8 + int.from_bytes(content[:8], "little")
        content = VERSION.sub(b"", content[8:end]).rstrip() + content[end:]
    if path.suffix == ".html":
        before, mark, behind = content.partition(b'<section id="training">')
        table, end, after = behind.partition(b"</section>")
        content = before + mark + MINUTES.sub(rb"\1", table) + end + after
    if path.suffix in (".json", ".html"):
        content = STAGES.sub(b"", HASHES.sub(b"", content))
    return PASSING.sub(b"", content) if path.suffix in (".json", ".jsonl", ".h5") else content


def _hdf5_content(path: Path) -> bytes:
    """All names, attributes and values: HDF5 notes in a file when its groups were made."""
    found: list[bytes] = []

    def add(name: str, thing: h5py.Group | h5py.Dataset) -> None:
        found.append(
            f"{name} {sorted((key, str(value)) for key, value in thing.attrs.items() if key != CHECKSUM)}".encode()
        )
        if isinstance(thing, h5py.Dataset):
            found.append(f"{thing.dtype} {thing.shape}".encode() + thing[()].tobytes())

    with h5py.File(path, "r") as file:
        add("/", file)
        file.visititems(add)
    return b"\n".join(found)
