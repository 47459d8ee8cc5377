"""What a model's files say of it before they are opened: layers, parameters and bytes; free of torch."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from engine.errors import ModelError, first_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LAYER: Final = re.compile(r"(?:^|\.)(\d+)\.")
_HALF: Final = ("BF16", "F16")
_PER_TOKEN: Final = ("num_experts_per_tok", "top_k_experts", "moe_topk", "moe_top_k", "moe_k")
_LONGEST_HEADER: Final = 100_000_000
_GGUF_SIZES: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_GGUF_COUNT, _GGUF_STRING, _GGUF_ARRAY = 4, 8, 9


@dataclass(frozen=True, slots=True)
class ModelHeader:
    """What the headers of a model's files say.

    Attributes:
        architecture: for people.
        n_layers: with weights of their own.
        n_params: in all stored tensors.
        n_matrix_params: of them in matrices of the layers, about what can be compressed.
        weight_bytes: of the files.
        matrices: of the layers: name -> (out, in).
        stacks: tensors of the layers with one dimension more, the first: name -> (count, out, in).
        width: of the embeddings.
        vocabulary: of the embeddings.
        is_half: whether most of the layers' matrices are stored in 16 bits; a GGUF file becomes a folder in float32.
        has_experts: whether the configuration has entries for experts.
        experts_per_token: of a layer, as the configuration says.
        opens_wider: whether the model takes 4 bytes for a weight once it is open, whatever the files take.
    """

    architecture: str
    n_layers: int
    n_params: int
    n_matrix_params: int
    weight_bytes: int
    matrices: Mapping[str, tuple[int, int]]
    stacks: Mapping[str, tuple[int, int, int]]
    width: int
    vocabulary: int
    is_half: bool = False
    has_experts: bool = False
    experts_per_token: int | None = None
    opens_wider: bool = True


def read_header(path: Path) -> ModelHeader:
    """Return what a transformers folder or a GGUF file says of its model.

    Raises:
        ModelError: it is neither, or damaged.
    """
    try:
        return _of_folder(path) if path.is_dir() else _of_gguf(path)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, struct.error, MemoryError) as error:
        raise ModelError(
            f"The model {path.name} cannot be read ({first_words(error)}); expected an undamaged folder of "
            "transformers, or a GGUF file."
        ) from error


def _of_folder(folder: Path) -> ModelHeader:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"The folder {folder} has no config.json; expected a transformers model folder with config.json, "
            "safetensors weights and tokenizer files."
        )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"The folder {folder} has no .safetensors file; expected the weights in safetensors.")
    config = json.loads((folder / "config.json").read_bytes())
    stored = {name: entry for file in files for name, entry in _safetensors_entries(file).items()}
    shapes = {name: tuple(entry["shape"]) for name, entry in stored.items()}
    architecture = next(iter(config.get("architectures") or [config.get("model_type", "unknown")]))
    summed = _summed(str(architecture), shapes, sum(file.stat().st_size for file in files))
    types = Counter(stored[name]["dtype"] for name in summed.matrices)
    n_half = sum(types[dtype] for dtype in _HALF)
    return replace(
        summed,
        is_half=2 * n_half > types.total(),
        opens_wider=2 * types["BF16"] <= types.total(),
        has_experts=any("expert" in name for name in config if not name.startswith("_")),
        experts_per_token=next((n for name in _PER_TOKEN if isinstance(n := config.get(name), int)), None),
    )


def _safetensors_entries(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        (length,) = struct.unpack("<Q", opened.read(8))
        if length > _LONGEST_HEADER:
            raise ValueError(f"the header of {file.name} is too long")
        header: dict[str, Any] = json.loads(opened.read(length))
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


def _of_gguf(file: Path) -> ModelHeader:
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ValueError("it does not begin as a GGUF file")
        _, n_tensors, n_values = struct.unpack("<IQQ", opened.read(20))
        values = {}
        for _ in range(n_values):
            name = _gguf_string(opened)
            values[name] = _gguf_value(opened, *struct.unpack("<I", opened.read(4)))
        shapes = {}
        for _ in range(n_tensors):
            name = _gguf_string(opened)
            (n_dimensions,) = struct.unpack("<I", opened.read(4))
            shapes[name] = struct.unpack(f"<{n_dimensions}Q", opened.read(8 * n_dimensions))[::-1]
            struct.unpack("<IQ", opened.read(12))
    architecture = str(values.get("general.architecture") or "unknown")
    used = values.get(f"{architecture}.expert_used_count")
    return replace(
        _summed(architecture, shapes, file.stat().st_size),
        has_experts=f"{architecture}.expert_count" in values,
        experts_per_token=used if isinstance(used, int) else None,
    )


def _gguf_string(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > _LONGEST_HEADER:
        raise ValueError("a name in its header is too long")
    return file.read(length).decode(errors="replace")


def _gguf_value(file: BinaryIO, kind: int) -> str | int | None:
    """Read past a value; return it if it is a string or a count."""
    if kind == _GGUF_STRING:
        return _gguf_string(file)
    if kind == _GGUF_COUNT:
        (count,) = struct.unpack("<I", file.read(4))
        return int(count)
    if kind == _GGUF_ARRAY:
        inner, length = struct.unpack("<IQ", file.read(12))
        if inner in _GGUF_SIZES:
            file.seek(_GGUF_SIZES[inner] * length, 1)
        else:
            for _ in range(length):
                _gguf_value(file, inner)
        return None
    file.seek(_GGUF_SIZES[kind], 1)
    return None


def _summed(architecture: str, shapes: dict[str, tuple[int, ...]], weight_bytes: int) -> ModelHeader:
    layers = {found[1] for name in shapes if (found := _LAYER.search(name))}
    in_layers = {name: shape for name, shape in shapes.items() if _LAYER.search(name) and len(shape) > 1}
    outside = [shape for name, shape in shapes.items() if len(shape) == 2 and not _LAYER.search(name)]
    matrices = {name: (shape[0], shape[1]) for name, shape in in_layers.items() if len(shape) == 2}
    stacks = {name: (shape[0], shape[1], shape[2]) for name, shape in in_layers.items() if len(shape) == 3}
    # An embedding for every layer, as Gemma-3n has beside its own, is larger, and no layer is as wide.
    vocabulary, width = max(
        outside,
        key=lambda shape: (sum(shape[1] in of_one for of_one in matrices.values()), math.prod(shape)),
        default=(0, 0),
    )
    return ModelHeader(
        architecture,
        len(layers),
        sum(math.prod(shape) for shape in shapes.values()),
        sum(map(math.prod, in_layers.values())),
        weight_bytes,
        matrices,
        stacks,
        width,
        vocabulary,
    )
