"""How far a job is: written by its process as JSON lines, read by anyone at any time."""

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

MIN_INTERVAL_S = 0.2
"""A reporter writes no more often than this, except when the stage changes."""

MAX_MESSAGE_LENGTH = 1000
TAIL_BYTES = 64 * 1024
"""Enough for many lines of progress: a line is shorter than a few kilobytes."""

LAST_LINE_BYTES = 4 * 1024
"""Enough for the last line, nearly always."""

MAX_FILE_BYTES = 1024 * 1024
"""A file of progress that grew longer is cut to its last ``TAIL_BYTES``."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a job was doing at one moment.

    Attributes:
        stage: the name of the stage, such as ``calibration``.
        fraction: how much of the whole job is done, 0 to 1; None while unknown.
        message: one line for a person.
        time: unix seconds.
    """

    stage: str
    fraction: float | None
    message: str
    time: float = 0.0

    def __post_init__(self) -> None:
        if self.fraction is not None and not 0.0 <= self.fraction <= 1.0:
            raise ValueError(f"A progress fraction lies between 0 and 1, not {self.fraction!r}.")


class ProgressReporter:
    """A :class:`engine.progress.Report` that appends to a file, a few lines a second at most.

    A change of stage is written at once. What was held back is written by the next call that is due, or on
    closing, so that the last report is never lost. A job never goes backwards: a fraction below an earlier one, or
    none, leaves the fraction where it was. Rounding may push a fraction a hair outside 0 to 1; it is brought back,
    because a bar must not end a computation.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        self._stage: str | None = None
        self._fraction: float | None = None
        self._written = -math.inf
        self._held: Progress | None = None

    def __call__(self, stage: str, fraction: float | None, message: str) -> None:
        """Report progress of the whole job.

        Raises:
            ValueError: ``fraction`` is not a number.
        """
        short = message[:MAX_MESSAGE_LENGTH]
        progress = Progress(stage[:MAX_MESSAGE_LENGTH], self._furthest(fraction), short, time.time())
        self._fraction = progress.fraction
        if stage != self._stage:
            self._flush_held()
        elif time.monotonic() - self._written < MIN_INTERVAL_S:
            self._held = progress
            return
        self._write(progress)

    def _furthest(self, fraction: float | None) -> float | None:
        if fraction is None or math.isnan(fraction):
            return self._fraction if fraction is None else fraction
        return max(min(fraction, 1.0), self._fraction or 0.0)

    def _flush_held(self) -> None:
        if self._held is not None:
            self._write(self._held)

    def _write(self, progress: Progress) -> None:
        self._file.write(json.dumps(asdict(progress)) + "\n")
        self._file.flush()
        self._stage, self._written, self._held = progress.stage, time.monotonic(), None
        if self._file.tell() > MAX_FILE_BYTES:
            self._shorten()

    def _shorten(self) -> None:
        """Put a file of the last reports in the place of the whole one, in one step for whoever reads."""
        shorter = self._path.with_suffix(".tmp")
        shorter.write_bytes(read_tail(self._path, TAIL_BYTES))
        shorter.replace(self._path)
        self._file.close()
        self._file = self._path.open("a", encoding="utf-8")

    def close(self) -> None:
        """Write what was held back and close the file."""
        self._flush_held()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_tail(path: Path, n_bytes: int) -> bytes:
    """Read the whole lines among the last ``n_bytes`` of a file; a file that cannot be read is an empty one."""
    try:
        with path.open("rb") as file:
            start = max(0, file.seek(0, 2) - n_bytes)
            file.seek(max(0, start - 1))
            tail = file.read(n_bytes + 1)
    except OSError:
        return b""
    return tail if start == 0 else tail[tail.find(b"\n") + 1 :]


def read_history(path: Path, n_bytes: int = TAIL_BYTES) -> list[Progress]:
    """Read what was reported, oldest first, from at most the last ``n_bytes``.

    Lines that are not progress are passed over: the last one may be half written, and a machine that lost
    its power can leave zeros.
    """
    finished_lines = read_tail(path, n_bytes).split(b"\n")[:-1]
    return [progress for line in finished_lines if (progress := _parsed(line)) is not None]


def read_last(path: Path) -> Progress | None:
    """Read the newest complete report without reading the whole file."""
    for n_bytes in (LAST_LINE_BYTES, TAIL_BYTES):
        for line in reversed(read_tail(path, n_bytes).split(b"\n")[:-1]):
            if (progress := _parsed(line)) is not None:
                return progress
    return None


def _parsed(line: bytes) -> Progress | None:
    try:
        value = json.loads(line)
        return Progress(value["stage"], value["fraction"], value["message"], value.get("time", 0.0))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
