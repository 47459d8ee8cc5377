"""Names for content: the same specification always hashes to the same 64 hexadecimal digits.

A fingerprint covers the stage, its *whole* specification, the fingerprints of everything upstream and the
schema version, so that no setting can be forgotten in a key typed by hand.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


def as_json(value: object, where: str = "value") -> Json:
    """Convert a value to plain JSON types.

    Dataclasses become objects of their fields and tuples become lists. The class itself is not recorded: a
    field that can hold one of several dataclasses needs a field in each that tells them apart.

    Args:
        value: None, bool, int, float, str, or lists, tuples, mappings and dataclasses of them.
        where: what to call ``value`` in an error message.

    Raises:
        TypeError: a part of ``value`` is of another type, or a mapping has a key that is not a string.
        ValueError: a part of ``value`` is NaN or infinite.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; JSON holds finite numbers only. Leave it out or use None.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [as_json(part, f"{where}[{index}]") for index, part in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{where} has the key {name!r}; JSON objects have strings as keys.")
        return {name: as_json(part, f"{where}.{name}") for name, part in value.items()}
    raise TypeError(
        f"{where} is a {type(value).__name__}; expected None, bool, int, float, str, "
        "or lists, tuples, mappings and dataclasses of them. Convert it first."
    )


def canonical_json(value: object) -> bytes:
    """Write a value as the one JSON text that equal values share: sorted keys, no whitespace, UTF-8.

    Raises:
        TypeError: a part of ``value`` has no JSON form (see :func:`as_json`).
        ValueError: a part of ``value`` is NaN, infinite, or text that is not valid Unicode.
    """
    text = json.dumps(as_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The value holds {text[error.start : error.end]!r}, half of a surrogate pair, which UTF-8 "
            "cannot hold. Decode the text it came from properly first."
        ) from error


def fingerprint(stage: str, spec: object, upstream: Sequence[str] = (), *, schema_version: int) -> str:
    """Name the result of a stage before it is computed.

    Args:
        stage: the stage's name.
        spec: everything the result depends on apart from its upstream values; see :func:`as_json`.
        upstream: fingerprints of the values the stage starts from, in the order the stage takes them.
        schema_version: raised whenever the stage's output changes for an unchanged ``spec``.

    Raises:
        TypeError: ``upstream`` is a single string, or ``spec`` has no JSON form.
        ValueError: ``spec`` holds NaN or an infinity.
    """
    if isinstance(upstream, str):
        raise TypeError(f"upstream is the string {upstream!r}; expected a sequence of fingerprints.")
    document = {"schema_version": schema_version, "spec": spec, "stage": stage, "upstream": list(upstream)}
    return fingerprint_bytes(canonical_json(document))


def fingerprint_bytes(data: bytes) -> str:
    """Name bytes by their SHA-256, in lowercase hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def fingerprint_file(path: Path) -> str:
    """Name a file by the SHA-256 of its content, read in pieces; its name and place do not matter."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
