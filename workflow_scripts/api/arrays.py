"""Lists of arrays (L+1, T, d) as the state files that the measuring steps read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.artifacts.hdf5 import offsets_of

Questions = Sequence[Any] | Mapping[str, Any] | str | Path
"""One (L+1, T, d) array per question, in a list or by its id: NumPy, torch, `States`, or a path of .npy. Or the path of
a .safetensors file with one tensor per question, by its id."""


@dataclass(frozen=True, eq=False)
class States:
    """Hidden states of one query.

    Attributes:
        values: (L+1, T, d) float32; `values[l]` is the input of decoder layer l, the last the output before the final
            norm. T: positions of the query itself, without template.
        tokens: one label per position: the decoded token, or the time of a speech position.
    """

    values: np.ndarray
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class ArrayStates:
    """States of N questions in memory; reads like `artifacts.states.StateReader`, in float32.

    Attributes:
        ids: the questions.
        speech, text: arrays (L+1, T, d) by question.
        labels: one text per text position, by question.
    """

    ids: list[str]
    speech: list[np.ndarray]
    text: list[np.ndarray]
    labels: list[list[str]]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: Path = Path("arrays")

    @property
    def n_layers(self) -> int:
        """L."""
        return len(self.speech[0]) - 1

    @property
    def layers(self) -> list[int]:
        """All of 0 .. L."""
        return list(range(self.n_layers + 1))

    def offsets(self, form: str) -> np.ndarray:
        """Ragged offsets (N+1,) of a form."""
        return offsets_of([states.shape[1] for states in getattr(self, form)])

    def layer(self, form: str, layer: int) -> np.ndarray:
        """All positions of one layer, float32 (sum T, d)."""
        return np.concatenate([states[layer] for states in getattr(self, form)])

    def tokens(self, number: int) -> list[str]:
        """Labels of the text positions of question `number`."""
        return self.labels[number]


def read_pairs(speech: Questions, text: Questions, attributes: Mapping[str, Any]) -> ArrayStates:
    """Both forms of the same questions: lists in the same order, or matched by id.

    Raises:
        ValueError: the forms do not fit each other, or an array has not three axes or other layers or width than the
            first; names the question. That states are finite is checked by the measures.
    """
    forms = {name: _by_id(samples) for name, samples in (("speech", speech), ("text", text))}
    ids = list(forms["speech"])
    if set(ids) != set(forms["text"]):
        odd = sorted(set(ids) ^ set(forms["text"]))[:5]
        raise ValueError(f"speech has {len(ids)} questions, text {len(forms['text'])}; only in one of them: {odd}")
    if not ids:
        raise ValueError("speech and text hold no question")
    found = {form: [_array(samples[name], f"{form} of {name}") for name in ids] for form, samples in forms.items()}
    first = found["speech"][0].shape
    for form, arrays in found.items():
        for name, array in zip(ids, arrays):
            if (array.shape[0], array.shape[2]) != (first[0], first[2]):
                raise ValueError(
                    f"{form} of {name} has shape {array.shape}, speech of {ids[0]} {first}: first axis (layers) and "
                    "last (width) must agree"
                )
    labels = [
        list(sample.tokens if isinstance(sample := forms["text"][name], States) else map(str, range(array.shape[1])))
        for name, array in zip(ids, found["text"])
    ]
    return ArrayStates(ids, found["speech"], found["text"], labels, dict(attributes))


def _by_id(samples: Questions) -> dict[str, Any]:
    """Samples by question: their ids, or places in the list."""
    if isinstance(samples, Mapping):
        return dict(samples)
    if isinstance(samples, str | Path):
        if Path(samples).suffix != ".safetensors":
            raise ValueError(f"{samples}: give a .safetensors file with one tensor per question, or a list")
        from safetensors.numpy import load_file

        return dict(sorted(load_file(samples).items()))
    width = max(4, len(str(len(samples))))
    return {f"q{number:0{width}d}": sample for number, sample in enumerate(samples)}


def _array(sample: Any, name: str) -> np.ndarray:
    """One sample as float32 (L+1, T, d)."""
    if isinstance(sample, str | Path):
        sample = np.load(sample, allow_pickle=False)
    if isinstance(sample, States):
        sample = sample.values
    if hasattr(sample, "detach"):  # a torch tensor; NumPy has no bfloat16
        sample = sample.detach().cpu().float().numpy()
    array = np.asarray(sample, dtype=np.float32)
    if array.ndim != 3 or 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}, expected (L+1, T, d): layers 0 .. L, positions, width")
    return array
