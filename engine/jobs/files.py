"""The folder of one job: what was asked, how far it is, what it printed, what came out."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from cache import write_in_one_step
from engine.jobs.job import JobError
from engine.jobs.progress import Progress, read_last, read_tail
from engine.jobs.remote_files import RemoteFiles

T = TypeVar("T")

LOG_BYTES = 1024 * 1024
"""What of a log is shown, and kept when it grew to a multiple of this."""

_LONGEST_LOG_BYTES = 8 * LOG_BYTES


@dataclass(frozen=True, slots=True)
class JobFolder:
    """The files of one job.

    Attributes:
        path: the folder; named after the job's id.
    """

    path: Path

    @property
    def progress(self) -> Path:
        """The reports of the last attempt, as JSON lines."""
        return self.path / "progress.jsonl"

    @property
    def log(self) -> Path:
        """What all attempts printed."""
        return self.path / "log.txt"

    def write_spec(self, spec: object) -> None:
        """Write what the job is asked to do."""
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self.path / "spec.json", spec)

    def write_result(self, result: object) -> None:
        """Write what the operation returned; complete on disk or absent.

        Raises:
            TypeError: ``result`` is not made of JSON values.
            ValueError: ``result`` holds a number that is not finite.
        """
        _write(self.path / "result.json", result)

    def has_result(self) -> bool:
        """Whether the last attempt came to its end."""
        return (self.path / "result.json").exists()

    def read_result(self) -> object:
        """Read what the operation returned; None if it was deleted.

        Raises:
            JobError: what is there is not what was written.
        """
        try:
            return _when_changed(_read_json, self.path / "result.json")
        except (OSError, ValueError, RecursionError) as error:
            raise JobError(
                f"The result of this job is damaged ({error}): run the job again, what it computed is kept."
            ) from error

    def last_progress(self) -> Progress | None:
        """Read the newest report of the last attempt."""
        return _when_changed(read_last, self.progress)

    def clear_outcome(self) -> None:
        """Delete the result and the progress of an earlier attempt; the log goes on."""
        for path in (self.path / "result.json", self.progress, *self.path.glob("*-[0-9]*.json")):
            path.unlink(missing_ok=True)

    def remote(self, attempt: int) -> RemoteFiles:
        """The files of one attempt that runs elsewhere."""
        return RemoteFiles(self.path, attempt)

    def read_spec(self) -> dict[str, object] | None:
        """Read what the job is asked to do; None where there is no such folder."""
        try:
            spec = _read_json(self.path / "spec.json")
        except FileNotFoundError:
            return None
        return spec if isinstance(spec, dict) else None

    def log_size(self) -> int:
        """How many bytes the log has."""
        return self.log.stat().st_size if self.log.is_file() else 0

    def shorten_log(self) -> None:
        """Drop the beginning of a log that grew too long, while its process may go on writing to its end."""
        if self.log_size() > _LONGEST_LOG_BYTES:
            recent = read_tail(self.log, LOG_BYTES)
            with self.log.open("r+b") as file:
                file.write(recent)
                file.truncate()

    def read_log(self, last_lines: int) -> str:
        """Read the end of the log; of a line drawn over and over (a bar), what it showed last."""
        lines = read_tail(self.log, LOG_BYTES).decode("utf-8", errors="replace").split("\n")
        if lines[-1] == "":
            lines.pop()
        return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines[-last_lines:])

    def delete(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.path, ignore_errors=True)


def _write(path: Path, value: object) -> None:
    write_in_one_step(path, json.dumps(value, indent=2, allow_nan=False).encode() + b"\n", mode=0o600)


def _read_json(path: Path) -> object:
    return json.loads(path.read_bytes())


def _when_changed(read: Callable[[Path], T], path: Path) -> T | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    found: T = _read_once(read, path, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


@lru_cache(maxsize=4096)
def _read_once(read: Callable[[Path], T], path: Path, size: int, mtime_ns: int, inode: int) -> T:  # noqa: ARG001
    """Read a file once for every state it has been seen in: pages list all jobs again and again."""
    return read(path)
