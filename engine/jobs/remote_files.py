"""What the worker and a job's process on another machine tell each other: small files in the job's folder.

A remote process has no access to the record of jobs. Files carry the number of the attempt, so that one that was given
up and still runs somewhere is not heard.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cache import write_in_one_step
from engine.jobs.job import JobStatus

WROTE_ITS_END = (0, 1)
"""Exit codes of a remote process that has said how it ended."""

FILES_ARRIVE_S = 60.0
"""What another machine wrote into a shared folder is seen after this long at the latest."""


@dataclass(frozen=True, slots=True)
class NextJob:
    """A job that follows another one: its operation, arguments and title."""

    operation: str
    arguments: Mapping[str, object]
    title: str


@dataclass(frozen=True, slots=True)
class End:
    """What a remote process says of its own end.

    Attributes:
        status: done or failed.
        result: what the operation returned.
        error: why it failed, in one sentence.
        following: jobs to queue before this one counts as done.
    """

    status: JobStatus
    result: object = None
    error: str | None = None
    following: Sequence[NextJob] = field(default=())


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """The files of one attempt.

    Attributes:
        folder: of the job.
        attempt: its number.
    """

    folder: Path
    attempt: int

    def open(self) -> None:
        """Make this the attempt that may run."""
        self._write(self.folder / "attempt.json", {"attempt": self.attempt})

    def call_off(self) -> None:
        """Have the attempt's process leave, should it still begin."""
        self._write(self.folder / "attempt.json", {"attempt": None})

    def is_wanted(self) -> bool:
        """Whether the attempt has been opened, and neither called off nor followed by another."""
        return self._read(self.folder / "attempt.json").get("attempt") == self.attempt

    def write_begun(self, host: str) -> None:
        """Say that the attempt's process runs on a machine."""
        self._write(self._of("begun"), {"host": host})

    def host(self) -> str | None:
        """The machine that runs the attempt, or ran it; None before it begins."""
        host = self._read(self._of("begun")).get("host")
        return host if isinstance(host, str) else None

    def write_end(self, end: End) -> None:
        """Say how the attempt ended.

        Raises:
            TypeError: the result is not made of JSON values.
            ValueError: the result holds a number that is not finite.
        """
        self._write(self._of("end"), asdict(end))

    def end(self) -> End | None:
        """How the attempt ended, as its process said it; None before, or if it cannot be read."""
        said = self._read(self._of("end"))
        with suppress(KeyError, TypeError, ValueError):
            following = [NextJob(**job) for job in said["following"]]
            return End(JobStatus(said["status"]), said["result"], said["error"], following)
        return None

    def write_cluster(self, ahead: int | None, note: str) -> None:
        """Note what the cluster says of the attempt; it has been submitted from then on."""
        known = {"ahead": ahead, "note": note}
        if self._read(self._of("cluster")) != known:
            self._write(self._of("cluster"), known)

    def cluster(self) -> tuple[int | None, str] | None:
        """What the cluster said last: jobs ahead, and a note; None before the attempt was submitted."""
        said = self._read(self._of("cluster"))
        return (said["ahead"], str(said["note"])) if said.keys() == {"ahead", "note"} else None

    def _of(self, what: str) -> Path:
        return self.folder / f"{what}-{self.attempt}.json"

    def _write(self, path: Path, value: object) -> None:
        write_in_one_step(path, json.dumps(value, allow_nan=False).encode() + b"\n", mode=0o600)

    def _read(self, path: Path) -> dict[str, Any]:
        with suppress(OSError, ValueError, RecursionError):
            value = json.loads(path.read_bytes())
            return value if isinstance(value, dict) else {}
        return {}
