"""Text files line by line, and the JSON values in them; free of torch."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

from engine.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, without a mark of the encoding and the ends of lines."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError as error:
                raise CorpusError(
                    f"{path.name}, line {number} is not UTF-8 (byte 0x{line[error.start]:02x} after "
                    f"{error.start} others); save the file as UTF-8 and try again."
                ) from None


def json_values(path: Path) -> Iterator[tuple[int, object]]:
    """Yield numbers and values of the lines of a ``.jsonl`` file, or of the items of a list in a ``.json`` file."""
    lines: Iterator[tuple[int, str]] = ((number, line) for number, line in lines_of(path) if line.strip())
    if path.suffix == ".json" and (first := next(lines, None)) is not None:
        if first[1].lstrip().startswith("["):
            listed = _parsed(path, 1, "\n".join(line for _, line in itertools.chain([first], lines)))
            yield from enumerate(listed if isinstance(listed, list) else [], start=1)
            return
        lines = itertools.chain([first], lines)
    for number, line in lines:
        yield number, _parsed(path, number, line)


def _parsed(path: Path, number: int, line: str) -> object:
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise CorpusError(
            f"{path.name}, line {number} is not JSON ({error.msg} at column {error.colno}); expected one JSON object "
            "per line."
        ) from None
    except RecursionError:
        raise CorpusError(f"{path.name}, line {number} is nested too deeply to be read.") from None
    except ValueError:
        raise CorpusError(f"{path.name}, line {number} holds a number of thousands of digits.") from None
