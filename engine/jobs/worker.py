"""``python -m engine.jobs.worker HOME ENTRYPOINT``: run what is queued, one job at a time, then leave.

Who records what: a job's process claims its job and writes its own end (see ``engine.jobs.record``). The
worker starts processes, ends cancelled ones, and records only what a process cannot: that it died. That is
the simplest design in which the worker may be killed at any moment. The job goes on without it and still ends
in the record; the next worker finds it running and adopts it by waiting for its process. If a worker dies
before its child has claimed the job, the next worker starts a second child; the loser of the claim leaves.

No submitted job is forgotten when the worker leaves: a submitter first commits its job, then starts a worker
unless one is registered. A leaving worker unregisters, releases the lock, and only then looks at the queue
once more. A submitter that saw the registration, or whose new worker found the lock taken, had committed
before that last look.
"""

import signal
import sys
import time
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from cache.processes import this_process
from engine.jobs.job import Job, JobStatus
from engine.jobs.local import LocalProcess, family, living, send_signal
from engine.jobs.outcome import NOT_CLAIMED, missing_memory, never_began, outcome
from engine.jobs.record import JobRecord

POLL_S = 0.1
GRACE_S = 5.0
"""What a job leaves behind when it ends gets this long before it is killed."""


def work(home: Path, entrypoint: str) -> None:
    """Run jobs until none is left; return at once if another worker does."""
    record = JobRecord(home)
    lock = FileLock(home / "worker.lock")
    while True:
        try:
            with lock.acquire(blocking=False):
                drain(record, entrypoint)
        except Timeout:
            return
        if not record.unfinished():
            return


def drain(record: JobRecord, entrypoint: str) -> None:
    """Be the registered worker while anything is queued or under way."""
    record.set_worker(this_process())
    try:
        while unfinished := record.unfinished():
            run_next(record, unfinished, entrypoint)
    finally:
        record.set_worker(None)


def run_next(record: JobRecord, unfinished: list[Job], entrypoint: str) -> None:
    """Wait for a job that already runs, or else run the oldest queued one."""
    for job in unfinished:
        if job.process is not None and job.status is not JobStatus.QUEUED:
            supervise(record, job.id, LocalProcess(job.process))
            return
    job = unfinished[0]
    if (refusal := missing_memory(job)) is not None:
        record.refuse(job.id, job.attempts, refusal)
        return
    command = [sys.executable, "-P", "-m", "engine.jobs.run", str(record.home), job.id, entrypoint]
    folder = record.folder(job.id)
    printed_before = folder.log_size()
    try:
        process = LocalProcess.start(command, folder.log)
    except OSError as error:
        record.refuse(job.id, job.attempts, f"The job's process could not be started: {error}.")
        return
    supervise(record, job.id, process)
    if process.exit_code != NOT_CLAIMED:
        has_log = folder.log_size() > printed_before
        record.refuse(job.id, job.attempts, never_began(process.exit_code, has_log=has_log))


def supervise(record: JobRecord, job_id: str, process: LocalProcess) -> None:
    """Stay with a job until its whole family is gone, then see that its end is recorded."""
    relatives: set[psutil.Process] = set()
    asked_at: float | None = None
    while True:
        ended = process.has_ended()
        job = record.get(job_id)
        cancelling = job is not None and job.status is JobStatus.CANCELLING and job.pid == process.id.pid
        if ended or cancelling:
            relatives = living(relatives | family(process.id))
            if ended and not relatives:
                break
            if asked_at is None:
                asked_at = time.time()
                send_signal(relatives, signal.SIGTERM)
            kill_at = asked_at + GRACE_S if job is None or job.kill_at is None else job.kill_at
            if time.time() >= kill_at:
                send_signal(relatives, signal.SIGKILL)
        record.folder(job_id).shorten_log()
        process.wait(POLL_S)
    if job is not None and job.pid == process.id.pid:
        status, error = outcome(process.exit_code, has_result=record.folder(job_id).has_result())
        record.close(job_id, job.attempts, status, error)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
