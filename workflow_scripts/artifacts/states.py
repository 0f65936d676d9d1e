"""activations.h5: hidden states of the query positions, one dataset per layer and form.

`states[l]` is the input of decoder layer `l` (0 = embeddings); `states[L]` the raw output of the last layer, before the
final norm. Positions are the query only: frames of the real audio, tokens of the prompt without template.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from workflow_scripts.artifacts import hdf5
from workflow_scripts.artifacts.files import ArtifactError

SCHEMA = "activations/2"
LAYER_CONVENTION = (
    "states[l] is the input of decoder layer l; states[L] is the last layer's output before the final norm"
)
SPAN_CONVENTION = "speech: frames of the real audio, padding trimmed; text: tokens of the prompt, no template, no BOS"


@dataclass(frozen=True)
class SampleStates:
    """States of one question.

    Attributes:
        speech: bfloat16 bits as uint16, shape (L+1, T_s, d).
        text: the same, shape (L+1, T_t, d).
    """

    speech: np.ndarray
    text: np.ndarray


def write_states(
    path: Path,
    ids: Sequence[str],
    seconds: Sequence[float],
    T_s: Sequence[int],
    tokens: Sequence[Sequence[str]],
    char_spans: Sequence[Sequence[tuple[int, int]]],
    n_layers: int,
    hidden_size: int,
    samples: Iterable[tuple[int, SampleStates]],
    compression: hdf5.Compression,
    attributes: Mapping[str, Any],
    layers: Sequence[int] | None = None,
    starts: Sequence[Sequence[float] | None] = (),
) -> None:
    """Write states as they arrive, in constant memory.

    Args:
        T_s: speech positions per question; text positions are `len(tokens[n])`.
        tokens, char_spans: one label and one character range of the prompt per text position.
        n_layers: L; L + 1 datasets are written per form.
        layers: only these of 0 .. L are written; a sample's first axis is then theirs, in ascending order.
        samples: pairs (index into ids, states), each index exactly once, in any order.
        starts: seconds at which each speech position begins, T_s per question, where the model knows them of all.

    Raises:
        ArtifactError: a sample's shape differs from the announced one, states are not finite, or an index is missing.
    """
    T_t = [len(labels) for labels in tokens]
    attributes = {"layer_convention": LAYER_CONVENTION, "span_convention": SPAN_CONVENTION, **attributes}
    stored = list(range(n_layers + 1)) if layers is None else sorted(set(layers))
    attributes |= {"n_layers": n_layers, "hidden_size": hidden_size, "layers": stored}
    seen: set[int] = set()
    with hdf5.create(path, SCHEMA, attributes) as file:
        hdf5.write_ids(file, ids)
        speech, speech_offsets = _create_form(file, "speech", T_s, stored, hidden_size, compression)
        text, text_offsets = _create_form(file, "text", T_t, stored, hidden_size, compression)
        file["speech/seconds"] = np.asarray(seconds, dtype=np.float64)
        if starts and all(one is not None for one in starts):
            file["speech/starts"] = np.concatenate([np.asarray(one, dtype=np.float64) for one in starts])
        file["text/tokens"] = np.array([json.dumps(list(labels)).encode() for labels in tokens] or [b""])
        spans = [span for one in char_spans for span in one]
        file["text/char_spans"] = np.array(spans, dtype=np.int64).reshape(-1, 2)
        for index, sample in samples:
            for form, block, expected in (
                ("speech", sample.speech, T_s[index]),
                ("text", sample.text, T_t[index]),
            ):
                _check_block(path, ids[index], form, block, (len(stored), expected, hidden_size))
            for layer in range(len(stored)):
                speech[layer][speech_offsets[index] : speech_offsets[index + 1]] = sample.speech[layer]
                text[layer][text_offsets[index] : text_offsets[index + 1]] = sample.text[layer]
            file.check()
            seen.add(index)
        if missing := [ids[number] for number in range(len(ids)) if number not in seen]:
            raise ArtifactError(f"{path}: no states for question(s) {missing[:5]}; the model skipped them")


def _create_form(
    file: h5py.File,
    form: str,
    lengths: Sequence[int],
    layers: Sequence[int],
    width: int,
    compression: hdf5.Compression,
) -> tuple[list[h5py.Dataset], np.ndarray]:
    offsets = hdf5.offsets_of(lengths)
    file[f"{form}/offsets"] = offsets
    total = int(offsets[-1])
    rows = min(max(1, hdf5.CHUNK_BYTES // (2 * width)), max(total, 1))
    datasets = []
    for layer in layers:
        data = file.create_dataset(
            f"{form}/states/{layer:03d}",
            (total, width),
            np.uint16,
            chunks=(rows, width),
            **hdf5.compression_options(compression),
        )
        data.attrs["dtype"] = "bfloat16"
        datasets.append(data)
    return datasets, offsets


def _check_block(path: Path, name: str, form: str, block: np.ndarray, expected: tuple[int, int, int]) -> None:
    if block.shape != expected:
        raise ArtifactError(f"{path}: {form} states of {name!r} have shape {block.shape}, expected {expected}")
    # A bfloat16 is NaN or infinite exactly when its eight exponent bits are all set.
    bad = ((block & 0x7F80) == 0x7F80).any(axis=(1, 2))
    if bad.any():
        raise ArtifactError(
            f"{path}: {form} states of question {name!r} are not finite from layer {int(np.argmax(bad))} on; "
            "check the checkpoint's training log, or run this model in float32"
        )


def kept_layers(attributes: Mapping[str, Any], n_layers: int) -> list[int]:
    """Layers of 0 .. L that a state file, or a file derived from one, holds."""
    stored = attributes.get("layers")
    return list(range(n_layers + 1)) if stored is None else [int(layer) for layer in json.loads(stored)]


class StateReader:
    """Reads states by question (all layers) from an activation file, in float32."""

    def __init__(self, path: Path):
        self.path = Path(path)

    def __enter__(self) -> "StateReader":
        with contextlib.ExitStack() as opened:
            self._file = opened.enter_context(hdf5.open_checked(self.path, SCHEMA))
            self.attributes = dict(self._file.attrs)
            self.n_layers = int(self.attributes["n_layers"])
            # Files from before layers could be chosen hold all of them.
            self.layers = kept_layers(self.attributes, self.n_layers)
            self.ids = hdf5.read_ids(self._file)
            self.seconds = self._file["speech/seconds"][:]
            self._offsets = {form: self._file[f"{form}/offsets"][:] for form in ("speech", "text")}
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def length(self, form: str, number: int) -> int:
        """T_s or T_t of question `number`."""
        return int(self._offsets[form][number + 1] - self._offsets[form][number])

    def tokens(self, number: int) -> list[str]:
        """Text tokens of question `number`."""
        return json.loads(self._file["text/tokens"][number])

    def starts(self, number: int) -> np.ndarray | None:
        """Seconds at which the speech positions of question `number` begin, (T_s,); None if the model gave none."""
        first, stop = self._offsets["speech"][number : number + 2]
        return self._file["speech/starts"][first:stop] if "speech/starts" in self._file else None

    def char_spans(self, number: int) -> list[tuple[int, int]] | None:
        """Characters of the prompt that each text token of question `number` covers; None if the model gave none."""
        start, end = (int(self._offsets["text"][number + place]) for place in (0, 1))
        spans = self._file["text/char_spans"]
        if len(spans) != self._offsets["text"][-1]:
            return None
        return [(int(a), int(b)) for a, b in spans[start:end]]

    def layer(self, form: str, layer: int) -> np.ndarray:
        """All positions of one layer, float32 (sum T, d): one dataset."""
        return hdf5.bfloat16_to_float32(self._file[f"{form}/states/{layer:03d}"][:])

    def offsets(self, form: str) -> np.ndarray:
        """Ragged offsets (N+1,) of a form."""
        return self._offsets[form]
