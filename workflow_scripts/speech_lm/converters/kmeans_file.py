"""The cluster centres in a k-means file as joblib writes it, read without running anything from it.

joblib pickles the object and puts the bytes of each array behind the record that describes it. Here classes other than
NumPy's number types come out as inert objects that keep their attributes.
"""

from __future__ import annotations

import gzip
import io
import math
import pickle
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from safetensors.numpy import load_file

from workflow_scripts.speech_lm.protocol import SpeechLMError

CENTRES = ("centroids", "cluster_centers_")


class _Inert:
    """An object whose class is not loaded; its attributes are in `attributes`."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        found = super().__new__(cls)
        found.attributes = {}
        return found

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict):
            self.attributes = state


class _ArrayRecord(_Inert):
    """joblib's description of an array whose bytes follow."""

    def read(self, file: io.BufferedIOBase) -> np.ndarray:
        """The array behind the record."""
        dtype, shape = np.dtype(self.attributes["dtype"]), tuple(int(n) for n in self.attributes["shape"])
        if dtype.hasobject:
            raise pickle.UnpicklingError("an array of objects")
        if self.attributes.get("numpy_array_alignment_bytes") is not None:
            file.read(int.from_bytes(file.read(1), "little"))
        size = math.prod(shape) * dtype.itemsize
        data = file.read(size)
        if len(data) < size:
            raise EOFError("the file ends within an array")
        fortran = self.attributes.get("order") == "F"
        array = np.frombuffer(data, dtype=dtype).reshape(shape[::-1] if fortran else shape)
        return array.T if fortran else array


class _Reader(pickle._Unpickler):  # the C version does not let a record be replaced
    dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: io.BufferedIOBase) -> None:
        super().__init__(file)
        self.handle = file

    def find_class(self, module: str, name: str) -> Any:
        """NumPy's number types, joblib's array records, and nothing else that does anything."""
        if module == "joblib.numpy_pickle" and name == "NumpyArrayWrapper":
            return _ArrayRecord
        if module == "numpy" and name in ("dtype", "ndarray"):
            return getattr(np, name)
        return type(name, (_Inert,), {})

    def load_build(self) -> None:
        super().load_build()
        if isinstance(self.stack[-1], _ArrayRecord):
            self.stack[-1] = self.stack[-1].read(self.handle)

    dispatch[pickle.BUILD[0]] = load_build


def read_centres(path: Path) -> np.ndarray:
    """(K, d) float32 cluster centres of a k-means file of joblib, of a .npy or of a .safetensors file.

    Raises:
        SpeechLMError: it cannot be read, or holds no centres.
    """
    path = Path(path)
    try:
        if path.suffix == ".npy":
            found = np.load(path, allow_pickle=False)
        elif path.suffix == ".safetensors":
            tensors = load_file(path)
            found = next((tensors[name] for name in CENTRES if name in tensors), None)
        else:
            content = _Reader(_plain(path)).load()
            found = getattr(content, "attributes", {}).get("cluster_centers_")
    except Exception as error:
        # A damaged pickle fails in many ways.
        raise SpeechLMError(f"{path} cannot be read as cluster centres: {type(error).__name__}: {error}") from error
    if not isinstance(found, np.ndarray) or found.ndim != 2:
        raise SpeechLMError(f"{path} holds no cluster centres (an array K x d, in joblib files `cluster_centers_`)")
    return np.array(found, dtype=np.float32, order="C")


def _plain(path: Path) -> io.BytesIO:
    data = path.read_bytes()
    if data[:2] == b"\x1f\x8b":
        return io.BytesIO(gzip.decompress(data))
    return io.BytesIO(zlib.decompress(data) if data[:1] == b"\x78" else data)
