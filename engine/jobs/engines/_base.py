"""What an engine of jobs promises."""

from typing import Protocol

from engine.jobs.choice import EngineChoice
from engine.jobs.job import Job
from engine.jobs.record import JobRecord
from engine.settings import JobSettings


class Attempt(Protocol):
    """One attempt at a job that is under way, looked after by the worker."""

    def advance(self) -> bool:
        """Do what is due now without waiting: end it if it was cancelled, record its end; True when it is over."""

    def wait(self, timeout_s: float) -> None:
        """Return when the attempt may have ended, or the time has passed."""


class JobEngine(Protocol):
    """A way to run jobs, for one worker.

    Everything it must know of a job is in the record and in the job's folder, so that the worker may be killed at any
    moment and the next one adopts what runs.

    Attributes:
        one_at_a_time: jobs that do not belong together wait for each other here; otherwise all are handed over at once,
            and a cluster queues them.
    """

    one_at_a_time: bool

    def __init__(self, record: JobRecord, entrypoint: str) -> None:
        """Run jobs of a record by an entry point."""

    @staticmethod
    def settings_of(given: JobSettings, resources: dict[str, float]) -> dict[str, str]:
        """Return what has to be known to run a job that asks for resources.

        Raises:
            JobError: the engine is not set up; the message says which setting is missing.
        """

    @staticmethod
    def describe(choice: EngineChoice) -> str:
        """Name the cluster in a few words."""

    def start(self, job: Job) -> Attempt | None:
        """Begin a queued job; None where it could not, which is recorded, or was begun by another."""

    def adopt(self, job: Job) -> Attempt | None:
        """Go on with an attempt that another worker began; None where nothing can be done for it."""
