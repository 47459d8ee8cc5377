"""What a job is and the states it can be in."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cache.processes import ProcessId
from engine.errors import RankScopeError
from engine.jobs.choice import LOCAL, EngineChoice, Place
from engine.jobs.progress import Progress

ID_LENGTH = 12


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
        pid: the process of its last attempt on this machine; None where a cluster alone knows it.
        pid_started: the start of that process, because pids are reused.
        attempts: how often it was begun.
        kill_at: when a cancelled job that still lives is killed.
        error: why it did not finish, in one sentence.
        position: how many jobs are ahead of a queued one.
        engine: where it runs, and what it needs there.
        lead: id of the job that it helps; None if it helps none.
        place: where its last attempt is, if not on this machine.
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
    engine: EngineChoice = LOCAL
    lead: str | None = None
    place: Place | None = None
    progress: Progress | None = None
    result: object = None

    @property
    def company(self) -> str:
        """What is equal for a job and its helpers, which run at once everywhere."""
        return self.lead or self.id

    @property
    def process(self) -> ProcessId | None:
        """The process of the last attempt; it may have ended."""
        return None if self.pid is None or self.pid_started is None else ProcessId(self.pid, self.pid_started)


def job_fingerprint(operation: str, arguments: Mapping[str, object]) -> str:
    """Name a job after what it does: equal operations with equal JSON arguments have equal ids."""
    text = json.dumps([operation, arguments], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
