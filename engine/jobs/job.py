"""What a job is and the states it can be in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cache.processes import ProcessId
from engine.errors import RankScopeError
from engine.jobs.progress import Progress


class JobError(RankScopeError):
    """A job does not exist, cannot be submitted, or cannot do what was asked in its present state."""


class JobStatus(StrEnum):
    """The states of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def is_final(self) -> bool:
        """Whether nothing happens to the job any more unless someone asks."""
        return self not in (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.CANCELLING)


@dataclass(frozen=True, slots=True)
class Job:
    """One operation with its arguments, and what became of it.

    Attributes:
        id: 12 hex digits, the beginning of the fingerprint of operation and arguments.
        operation: the name the entry point knows.
        arguments: JSON values by name.
        title: what a person calls the job.
        estimate: what the job is expected to need, such as ``memory_bytes``.
        status: the state of the job.
        created: when it was first submitted, in unix seconds, as all times here.
        started: when its last attempt began.
        finished: when its last attempt ended, or when it was cancelled.
        pid: the process of its last attempt.
        pid_started: the start of that process, because pids are reused.
        attempts: how often it was begun.
        kill_at: when a cancelled job that still lives is killed.
        error: why it did not finish, in one sentence.
        position: how many jobs are ahead of a queued one.
        progress: the last report of its process.
        result: what the operation returned, a JSON value.
    """

    id: str
    operation: str
    arguments: Mapping[str, object]
    title: str
    estimate: Mapping[str, object]
    status: JobStatus
    created: float
    started: float | None
    finished: float | None
    pid: int | None
    pid_started: str | float | None
    attempts: int
    kill_at: float | None
    error: str | None
    position: int | None
    progress: Progress | None = None
    result: object = None

    @property
    def process(self) -> ProcessId | None:
        """The process of the last attempt; it may have ended."""
        return None if self.pid is None or self.pid_started is None else ProcessId(self.pid, self.pid_started)
