"""Reads CTranslate2 model files (binary format version 6) and names their tensors as transformers does.

Layout, little-endian. A string is a uint16 length that counts a final NUL, then the bytes.

    uint32 format version | string specification | uint32 revision
    uint32 number of variables, then for each:
        string name | uint8 rank | uint32 x rank dimensions | uint8 type | uint32 bytes | data, row-major
    uint32 number of aliases, then for each: string name | string target

Only NumPy is needed; nothing is executed.
"""

import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.assets.errors import AssetError

FORMAT_VERSION = 6
TYPES = {
    0: np.dtype("<f4"),
    1: np.dtype("i1"),
    2: np.dtype("<i2"),
    3: np.dtype("<i4"),
    4: np.dtype("<f2"),
}

LAYER_PARTS = {
    "self_attention/linear_1": "self_attn.out_proj",
    "self_attention/layer_norm": "self_attn_layer_norm",
    "attention/linear_0": "encoder_attn.q_proj",
    "attention/linear_2": "encoder_attn.out_proj",
    "attention/layer_norm": "encoder_attn_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
    "ffn/layer_norm": "final_layer_norm",
}
FUSED_PARTS = {
    "self_attention/linear_0": ("self_attn", ("q_proj", "k_proj", "v_proj")),
    "attention/linear_1": ("encoder_attn", ("k_proj", "v_proj")),
}
WHOLE_MODEL = {
    "encoder/conv1": "model.encoder.conv1",
    "encoder/conv2": "model.encoder.conv2",
    "encoder/layer_norm": "model.encoder.layer_norm",
    "decoder/layer_norm": "model.decoder.layer_norm",
    "encoder/position_encodings/encodings": "model.encoder.embed_positions.weight",
    "decoder/position_encodings/encodings": "model.decoder.embed_positions.weight",
    "decoder/embeddings/weight": "model.decoder.embed_tokens.weight",
}
ENDINGS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
LAYER_NAME = re.compile(r"^(encoder|decoder)/layer_(\d+)/(.+)/(\w+)$")


@dataclass(frozen=True)
class Ctranslate2Model:
    """A model file as read.

    Attributes:
        specification: name of the model's kind, e.g. `WhisperSpec`.
        revision: version of that kind.
        variables: arrays by name; scalars have shape ().
        aliases: target name by alias, for tensors that are used twice.
    """

    specification: str
    revision: int
    variables: dict[str, np.ndarray]
    aliases: dict[str, str]


class _Cursor:
    """Reads values one after another and says where a file ends too early."""

    def __init__(self, path: Path):
        self.path, self.data, self.at = path, memoryview(path.read_bytes()), 0

    def take(self, count: int, what: str) -> memoryview:
        if self.at + count > len(self.data):
            raise AssetError(
                f"{self.path}: ends at byte {len(self.data):,} inside {what}, which needs {count:,} bytes "
                f"from byte {self.at:,}; the file is truncated or no CTranslate2 model: fetch it again"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, code: str, what: str) -> int:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code), what))[0]

    def string(self, what: str) -> str:
        raw = bytes(self.take(self.number("H", what), what))
        if not raw.endswith(b"\0"):
            raise AssetError(f"{self.path}: {what} is not a NUL-terminated string; no CTranslate2 model")
        return raw[:-1].decode("utf-8")


def read_ctranslate2(path: Path) -> Ctranslate2Model:
    """Read a model file.

    Raises:
        AssetError: another format version, an unknown number type, sizes that contradict each other, a
            truncated file or bytes after its end.
    """
    cursor = _Cursor(path)
    version = cursor.number("I", "the format version")
    if version != FORMAT_VERSION:
        raise AssetError(
            f"{path}: format version {version}, only {FORMAT_VERSION} is read; convert the model again with "
            "a CTranslate2 that writes it, or use a transformers folder as source"
        )
    specification = cursor.string("the specification's name")
    revision = cursor.number("I", "the revision")
    variables = {}
    for index in range(cursor.number("I", "the number of variables")):
        name = cursor.string(f"the name of variable {index}")
        rank = cursor.number("B", f"the rank of {name}")
        shape = tuple(cursor.number("I", f"the shape of {name}") for _ in range(rank))
        code = cursor.number("B", f"the type of {name}")
        size = cursor.number("I", f"the size of {name}")
        if code not in TYPES:
            raise AssetError(f"{path}: {name} has number type {code}, known are {sorted(TYPES)}")
        if size != int(np.prod(shape, dtype=np.int64)) * TYPES[code].itemsize:
            raise AssetError(f"{path}: {name} has shape {shape} of {TYPES[code]} but {size} bytes")
        variables[name] = np.frombuffer(cursor.take(size, f"the data of {name}"), TYPES[code]).reshape(shape)
    aliases = {}
    for index in range(cursor.number("I", "the number of aliases")):
        alias = cursor.string(f"alias {index}")
        aliases[alias] = cursor.string(f"the target of {alias}")
    if cursor.at != len(cursor.data):
        raise AssetError(f"{path}: {len(cursor.data) - cursor.at:,} bytes after the end; no CTranslate2 model")
    return Ctranslate2Model(specification, revision, variables, aliases)


def whisper_tensors(model: Ctranslate2Model, path: Path) -> dict[str, np.ndarray]:
    """The tensors of a Whisper model under the names of WhisperForConditionalGeneration.

    Fused projections are split along their rows. The key projection has no bias in Whisper; its part of a
    fused bias must be zero and is left out. `proj_out.weight` is tied to the token embeddings and not part of
    the result.

    Args:
        model: the file as read.
        path: named in errors.

    Returns:
        Arrays by name, float16 or float32 as stored; weights of shape (out, in), convolutions (out, in, 3).

    Raises:
        AssetError: not a Whisper model, quantised weights, an output projection of its own, or an unknown tensor.
    """
    if model.specification != "WhisperSpec":
        raise AssetError(f"{path}: specification is {model.specification!r}, expected 'WhisperSpec'")
    if model.aliases.get("decoder/projection/weight") != "decoder/embeddings/weight":
        raise AssetError(f"{path}: the output projection is not tied to the embeddings (aliases: {model.aliases})")
    tensors: dict[str, np.ndarray] = {}
    for name, array in model.variables.items():
        if array.ndim == 0:
            # Flags and sizes; those needed are read by whisper_shape.
            continue
        if array.dtype.kind != "f":
            raise AssetError(f"{path}: {name} is quantised ({array.dtype}); use a float16 or float32 model")
        tensors.update(_renamed(name, array, path))
    return tensors


def whisper_shape(model: Ctranslate2Model, path: Path) -> dict[str, int]:
    """Sizes of a Whisper model as fields of WhisperConfig, from its tensors (and its count of heads).

    Raises:
        AssetError: a tensor that is needed is missing.
    """
    variables = model.variables
    try:
        d_model, mel_bins, _ = variables["encoder/conv1/weight"].shape
        heads = {side: int(variables[f"{side}/num_heads"]) for side in ("encoder", "decoder")}
        ffn = {side: variables[f"{side}/layer_0/ffn/linear_0/weight"].shape[0] for side in heads}
        rows = {side: variables[f"{side}/position_encodings/encodings"].shape[0] for side in heads}
        vocab_size = variables["decoder/embeddings/weight"].shape[0]
    except KeyError as error:
        raise AssetError(f"{path}: has no tensor {error.args[0]!r}, so it is no complete Whisper model") from None
    layers = {
        side: len({found[2] for name in variables if (found := LAYER_NAME.match(name)) and found[1] == side})
        for side in heads
    }
    return {
        "d_model": d_model,
        "num_mel_bins": mel_bins,
        "vocab_size": vocab_size,
        "encoder_layers": layers["encoder"],
        "decoder_layers": layers["decoder"],
        "encoder_attention_heads": heads["encoder"],
        "decoder_attention_heads": heads["decoder"],
        "encoder_ffn_dim": ffn["encoder"],
        "decoder_ffn_dim": ffn["decoder"],
        "max_source_positions": rows["encoder"],
        "max_target_positions": rows["decoder"],
    }


def _renamed(name: str, array: np.ndarray, path: Path) -> dict[str, np.ndarray]:
    if name in WHOLE_MODEL:
        return {WHOLE_MODEL[name]: array}
    stem, _, ending = name.rpartition("/")
    if stem in WHOLE_MODEL and ending in ENDINGS:
        return {f"{WHOLE_MODEL[stem]}.{ENDINGS[ending]}": array}
    found = LAYER_NAME.match(name)
    if found and found[4] in ENDINGS:
        layer, part, ending = f"model.{found[1]}.layers.{found[2]}", found[3], ENDINGS[found[4]]
        if part in LAYER_PARTS:
            return {f"{layer}.{LAYER_PARTS[part]}.{ending}": array}
        if part in FUSED_PARTS:
            module, names = FUSED_PARTS[part]
            return _split(name, f"{layer}.{module}", names, ending, array, path)
    raise AssetError(f"{path}: unknown tensor {name} of shape {array.shape}; this kind of Whisper model is not known")


def _split(
    name: str, module: str, projections: tuple[str, ...], ending: str, array: np.ndarray, path: Path
) -> dict[str, np.ndarray]:
    if array.shape[0] % len(projections):
        raise AssetError(f"{path}: {name} has {array.shape[0]} rows, not a multiple of {len(projections)}")
    parts = dict(zip(projections, np.split(array, len(projections)), strict=True))
    if ending == "bias" and np.any(parts.pop("k_proj")):
        raise AssetError(f"{path}: {name} has a non-zero bias of the keys, which Whisper does not have")
    return {f"{module}.{projection}.{ending}": part for projection, part in parts.items()}
