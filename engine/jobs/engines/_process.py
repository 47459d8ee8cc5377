"""An attempt that is a process on this machine, whatever it waits for elsewhere."""

import signal
import time

import psutil

from engine.jobs.job import Job, JobStatus
from engine.jobs.outcome import NOT_CLAIMED, close, never_began
from engine.jobs.processes import LocalProcess, family, living, send_signal
from engine.jobs.record import JobRecord

GRACE_S = 5.0
"""What a job leaves behind when it ends gets this long before it is killed."""


class ProcessAttempt:
    """A job's process: it is over when its whole family is gone.

    Args:
        record: of the jobs.
        job: as it was when the process was started or adopted.
        process: started by this worker from a queued job, or adopted from a worker that was killed.
    """

    def __init__(self, record: JobRecord, job: Job, process: LocalProcess) -> None:
        self._record = record
        self._job = job
        self._process = process
        self._printed_before = record.folder(job.id).log_size()
        self._relatives: set[psutil.Process] = set()
        self._asked_at: float | None = None

    def advance(self) -> bool:
        """End the family of a cancelled job or of one that has ended, then see that the end is recorded."""
        ended = self._process.has_ended()
        job = self._record.get(self._job.id)
        is_its_process = job is not None and job.pid == self._process.id.pid
        if ended or (is_its_process and job is not None and job.status is JobStatus.CANCELLING):
            self._relatives = living(self._relatives | family(self._process.id))
            if ended and not self._relatives:
                if job is not None and is_its_process:
                    close(self._record, job, self.exit_code)
                if self._job.status is JobStatus.QUEUED and self.exit_code != NOT_CLAIMED:
                    self._refuse_unclaimed()
                return True
            if self._asked_at is None:
                self._asked_at = time.time()
                self.ask_to_end()
            kill_at = self._asked_at + GRACE_S if job is None or job.kill_at is None else job.kill_at
            if time.time() >= kill_at:
                send_signal(self._relatives, signal.SIGKILL)
        self._record.folder(self._job.id).shorten_log()
        return False

    def wait(self, timeout_s: float) -> None:
        """Return when the process has ended or the time has passed."""
        self._process.wait(timeout_s)

    def _refuse_unclaimed(self) -> None:
        has_log = self._record.folder(self._job.id).log_size() > self._printed_before
        self._record.refuse(self._job.id, self._job.attempts, never_began(self.exit_code, has_log=has_log))

    @property
    def exit_code(self) -> int | None:
        """How the process ended, as :func:`engine.jobs.outcome.outcome` reads it."""
        return self._process.exit_code

    def ask_to_end(self) -> None:
        """Ask all that lives of the job to end."""
        send_signal(self._relatives, signal.SIGTERM)


def begin_process(record: JobRecord, job: Job, command: list[str]) -> LocalProcess | None:
    """Start a process that claims a job; None where it could not be started, which is recorded."""
    try:
        return LocalProcess.start(command, record.folder(job.id).log)
    except OSError as error:
        record.refuse(job.id, job.attempts, f"The job's process could not be started: {error}.")
        return None
