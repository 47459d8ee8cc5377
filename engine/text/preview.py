"""The beginning of a text file and how much it holds, before anything is computed; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.errors import CorpusError
from engine.text.lines import json_values, lines_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MOST_BYTES: Final = 5_000_000
"""More of a file is not read for a preview."""
_SHOWN: Final = 300


@dataclass(frozen=True, slots=True)
class TextPreview:
    """What a file holds.

    Attributes:
        beginning: the first letters.
        documents: its texts, at least the first megabytes of them.
        is_whole: whether these are all.
    """

    beginning: str
    documents: tuple[str, ...]
    is_whole: bool

    @property
    def n_bytes(self) -> int:
        """Of all texts in UTF-8."""
        return sum(len(document.encode()) for document in self.documents)


def text_fields(path: Path) -> tuple[str, ...]:
    """Return the keys of a JSON lines file whose first value is text or a list; empty for other files.

    Raises:
        CorpusError: it is not JSON, or not UTF-8.
    """
    if path.suffix not in {".jsonl", ".json"}:
        return ()
    _, first = next(json_values(path), (0, None))
    return tuple(k for k, v in first.items() if isinstance(v, (str, list))) if isinstance(first, dict) else ()


def preview_text(path: Path, field: str) -> TextPreview:
    """Read the beginning of a text file.

    Raises:
        CorpusError: it is empty, or not what a text file is.
    """
    documents, n_bytes = [], 0
    for document in _documents(path, field):
        documents.append(document)
        n_bytes += len(document)
        if n_bytes > _MOST_BYTES:
            break
    if not any(document.strip() for document in documents):
        raise CorpusError(f"The text {path.name} is empty; give one with some text.")
    return TextPreview(" ".join(documents)[:_SHOWN], tuple(documents), n_bytes <= _MOST_BYTES)


def _documents(path: Path, field: str) -> Iterator[str]:
    if path.suffix not in {".jsonl", ".json"}:
        yield from (line for _, line in lines_of(path))
        return
    for number, row in json_values(path):
        if not isinstance(row, dict) or field not in row:
            held = ", ".join(row) if isinstance(row, dict) else "no object"
            raise CorpusError(f"{path.name}, line {number} has no field {field!r} but {held}; choose another key.")
        value = row[field]
        yield value if isinstance(value, str) else str(value)
