"""Values to files and back: JSON for structure, safetensors for arrays; never pickle; numpy is loaded for arrays only.

The same value always gives the same bytes, so that artifacts of the same computation can be compared by hash.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.errors import StoreError
from cache.fingerprint import canonical_json

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

_DTYPES = frozenset(
    {"bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"}
    | {"float16", "float32", "float64", "complex64"}
)


def write_json(path: Path, value: object) -> None:
    """Write a value as canonical JSON; dataclasses become objects, tuples become lists.

    Raises:
        TypeError: a part of ``value`` has no JSON form.
        ValueError: a part of ``value`` is NaN or infinite.
    """
    path.write_bytes(canonical_json(value))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        StoreError: the file is not JSON in UTF-8.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise StoreError(f"{path.name} does not hold JSON ({error}); read it as what it was written.") from error


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write named arrays as safetensors, every value bit for bit.

    Args:
        path: the file to write.
        arrays: any shape, memory order and byte order; the file's order does not depend on the mapping's.

    Raises:
        TypeError: an array's element type has no place in safetensors.
    """
    import numpy as np
    import safetensors.numpy

    dense = {}
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        if array.dtype.name not in _DTYPES:
            raise TypeError(
                f"Array {name!r} has element type {array.dtype}; expected one of "
                f"{', '.join(sorted(_DTYPES))}. Convert it first."
            )
        # safetensors copies raw memory: a transposed or sliced array would be written in the wrong order.
        dense[name] = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    safetensors.numpy.save_file(dense, path)


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Read every array of a safetensors file.

    Raises:
        StoreError: the file is not safetensors, or holds an element type that numpy lacks (bfloat16).
    """
    import safetensors.numpy

    try:
        arrays = dict(safetensors.numpy.load_file(path))
    except (safetensors.SafetensorError, TypeError, AttributeError, KeyError) as error:
        raise _unreadable(path, str(error)) from error
    # A package that gives numpy bfloat16 may have been imported.
    if foreign := {array.dtype.name for array in arrays.values()} - _DTYPES:
        raise _unreadable(path, f"of type {', '.join(sorted(foreign))}")
    return arrays


def read_as_float32(path: Path, names: Iterable[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Read those of some arrays that a safetensors file has, in float32, also where they are bfloat16.

    Raises:
        StoreError: one has another type.
    """
    import numpy as np

    found = {}
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        for name in (name for name in names if name in header):
            begin, end = header[name]["data_offsets"]
            file.seek(8 + length + begin)
            raw, kind = file.read(end - begin), header[name]["dtype"]
            if kind not in ("BF16", "F32"):
                raise _unreadable(path, f"of type {kind}")
            # A number of bfloat16 is the upper half of one of float32.
            bits = np.frombuffer(raw, "<u2").astype("<u4") << 16 if kind == "BF16" else np.frombuffer(raw, "<u4")
            found[name] = bits.view("<f4").reshape(header[name]["shape"])
    return found


def _unreadable(path: Path, why: str) -> StoreError:
    return StoreError(f"{path.name} does not hold arrays that numpy can read ({why}); read it as what it was written.")
