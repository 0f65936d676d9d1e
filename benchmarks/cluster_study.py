"""The study of `benchmarks.cluster`: many training prompts, and models so small that the workflow is the load."""

import csv
import itertools
import math
import wave
from array import array
from pathlib import Path

import yaml

from benchmarks.faults.study import NAME, THINGS, settings, write_study

RATE, WORD_SECONDS = 16_000, 0.2
QUESTIONS, QUESTIONS_PER_SHARD = 24, 12
HELDOUT = 20
VOICE = """# Speaks a text by putting the sounds of its words together: sh say.sh TEXT OUT.wav FOLDER
cd "$3" && out=$2 && set -- ${1%[.?]} && exec cat "head-$#" "$@" > "$out"
"""
"""One short process a prompt: a voice that computed its tones would take longer than all models."""
MOST = len(THINGS) ** 4 - HELDOUT
"""Prompts that can be made."""


def write_cluster_study(folder: Path, prompts: int, shards: int) -> Path:
    """The workflow's sources, the made study, and the committed SLURM profile for a node of two cores."""
    write_study(folder)
    given = folder.resolve() / "given"
    lists = (" ".join(words) for words in itertools.product(THINGS, repeat=4))
    asked = [(f"name {words}",) for words in itertools.islice(lists, prompts + HELDOUT)]
    pairs = itertools.islice(itertools.permutations(THINGS, 2), QUESTIONS)
    questions = [(f"s{n}", f"what is near the {one} and the {two}", one) for n, (one, two) in enumerate(pairs)]
    for name, heading, rows in (("prompts", ("question",), asked), ("short", ("id", "prompt", "reference"), questions)):
        with open(given / "data" / f"{name}.csv", "w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([heading, *rows])
    (given / "say.sh").write_text(VOICE)
    write_sounds(given / "words", {word for row in questions for word in row[1].split()} | {*THINGS, "name"})
    _pace(folder / "profiles" / "slurm" / "profile.yaml")
    (folder / NAME).write_text(yaml.safe_dump(cluster_settings(given, prompts, shards), sort_keys=False))
    return folder


def cluster_settings(given: Path, prompts: int, shards: int) -> dict:
    """The small study of `benchmarks.faults` with many prompts, one subset, and shards of both."""
    values = settings(given)
    values["benchmark"]["subsets"].pop("pick")
    values["benchmark"]["subsets"]["short"] |= {"questions": QUESTIONS, "floors": False}
    values["benchmark"]["questions_per_shard"] = QUESTIONS_PER_SHARD
    sound = ["/bin/sh", str(given / "say.sh"), "{text}", "{out}", str(given / "words")]
    values["speech"]["voices"]["tones"]["command"] = sound
    values["speech"]["asr"]["batch_size"] = 64
    values["training"]["prompts_per_shard"] = math.ceil((prompts + HELDOUT) / shards)
    values["training"]["instructions"] |= {"prompts": prompts, "heldout": HELDOUT}
    values["training"]["recipes"]["small"] |= {
        "ctc": {"epochs": 1, "batch_size": 64, "learning_rate": 1e-3},
        "batch_size": 16,
        "checkpoint_steps": [0, 20],
    }
    values["activations"] |= {"subsets": ["short"]}
    return values


def write_sounds(folder: Path, words: set[str]) -> None:
    """A tone a word without a header, and the headers of up to twelve words."""
    folder.mkdir()
    length = int(RATE * WORD_SECONDS)
    for number, word in enumerate(sorted(words)):
        pitch = 2 * math.pi * (150 + 40 * number) / RATE
        samples = array("h", (int(9000 * math.sin(pitch * n)) for n in range(length)))
        (folder / word).write_bytes(samples.tobytes())
    for n_words in range(1, 13):
        head = folder / f"head-{n_words}"
        with wave.open(str(head), "wb") as out:
            out.setnchannels(1), out.setsampwidth(2), out.setframerate(RATE)
            out.writeframes(bytes(2 * length * n_words))
        head.write_bytes(head.read_bytes()[:44])


def _pace(profile: Path) -> None:
    """Jobs of one core, and an executor that looks at them after three seconds."""
    values = yaml.safe_load(profile.read_text())
    values |= {"slurm-init-seconds-before-status-checks": 3, "latency-wait": 10}
    many = ("synthesize_speech", "speak_shard", "encode_speech", "transcribe_speech", "transcribe_shard")
    many += ("answer_instructions", "answer_shard", "warm_up_adapter", "train_model")
    profile.write_text(yaml.safe_dump(values | {"set-threads": dict.fromkeys(many, 1)}))
