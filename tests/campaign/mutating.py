"""Wrong values in the place of right ones, in documents of any shape."""

from __future__ import annotations

import copy
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[[bytes], bytes]
    Place = tuple[str | int, ...]


class Left:
    """Stands for nothing: the place is left out."""

    def __repr__(self) -> str:
        return "left out"


LEFT_OUT: Final = Left()
WRONG: Final[tuple[Any, ...]] = (
    *(None, True, 0, 1, -1, 3, 1.5, 2**31, 10**20, float("nan"), float("inf"), 1e308, "", "x", "7"),
    *("../../x", "[red]", "\ud800", [], [None], {}, {"x": 1}, LEFT_OUT),
)


def places(document: Any, place: Place = ()) -> Iterator[Place]:
    """Yield the place of everything in a document but itself."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in inside:
        yield (*place, name)
        if isinstance(value, (dict, list)):
            yield from places(value, (*place, name))


def mutated(document: Any, place: Place, value: object) -> bytes:
    """Return the JSON of a document that has another value in one place, with NaN where it is not finite."""
    changed = copy.deepcopy(document)
    parent = changed
    for step in place[:-1]:
        parent = parent[step]
    if value is LEFT_OUT:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return json.dumps(changed).encode()


def mutations(document: Any, values: tuple[Any, ...] = WRONG) -> dict[str, Change]:
    """Return every wrong value in every place, by what is wrong, as changes of the file that holds the document."""
    return {
        f"{place} {value!r}": lambda _, place=place, value=value: mutated(document, place, value)
        for place in places(document)
        for value in values
    }


def _flipped(content: bytes, part: float) -> bytes:
    at = min(int(len(content) * part), len(content) - 1)
    return content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :] if content else b" "


CUTS: Final[dict[str, Change]] = {
    "empty": lambda _: b"",
    "half": lambda content: content[: len(content) // 2],
    "one byte short": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
    "zeros": lambda content: bytes(len(content) or 1),
    "zeros at the end": lambda content: content[: len(content) // 2] + bytes(len(content) - len(content) // 2),
    "twice": lambda content: content * 2,
    "UTF-16": lambda content: content.decode("latin-1").encode("utf-16"),
    "with BOM": lambda content: b"\xef\xbb\xbf" + content,
    **{f"a bit flipped at {at}/8": partial(_flipped, part=at / 8) for at in range(9)},
}
"""What a disk or an editor does to a file."""

DOCUMENTS: Final = {
    "null": b"null",
    "a list": b"[]",
    "an object": b"{}",
    "a number": b"7",
    "text": b'"x"',
    "NaN": b"NaN",
    "nested": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "long number": b"9" * 6000,
    "not UTF-8": b"\xff\xfe\x00",
    "zeros": bytes(10_000),
    "blank": b"\n \n",
    "huge": b'"' + b"x" * 6_000_000 + b'"',
    "a key twice": b'{"a":1,"a":2}',
}
"""Contents of no kind that is expected anywhere."""


def wrong_contents() -> dict[str, Change]:
    """Return what a file may hold instead of what was written, by what is wrong."""
    return CUTS | {what: lambda _, content=content: content for what, content in DOCUMENTS.items()}


def change_file(path: Path, change: Change) -> None:
    """Change the content of a file, which need not exist."""
    path.write_bytes(change(path.read_bytes() if path.exists() else b""))


def put_dangling(path: Path) -> None:
    """Put a link to nothing."""
    path.symlink_to("nowhere")


PUTS: Final[dict[str, Callable[[Path], object]]] = {
    "missing": lambda _: None,
    "a folder": Path.mkdir,
    "a pipe": os.mkfifo,
    "a dangling link": put_dangling,
}
"""What may stand where a file was."""


def put_instead(path: Path, put: Callable[[Path], object]) -> None:
    """Remove a file or a folder and put something else there."""
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    put(path)
