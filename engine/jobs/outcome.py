"""What becomes of a job whose process did not record its end, or cannot begin."""

import signal

from cache.processes import is_alive
from engine.jobs.job import Job, JobStatus, job_fingerprint
from engine.jobs.processes import family
from engine.jobs.record import JobRecord
from engine.machine import memory_shortage

RESUME = "resume the job to continue after its last finished stage"
_STOPPED_FROM_OUTSIDE = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)

NOT_CLAIMED = 75
"""Exit code of a job's process that found its job cancelled or already taken."""


def outcome(exit_code: int | None, *, has_result: bool) -> tuple[JobStatus, str | None]:
    """Decide how an attempt ended that did not record it itself.

    Args:
        exit_code: negative for a signal; None if nobody saw it.
        has_result: the result was written, so only the record was missed.
    """
    if has_result:
        return JobStatus.DONE, None
    if exit_code is None:
        reason = "The job's process is gone without a result (it was killed, or the machine restarted)"
        return JobStatus.INTERRUPTED, f"{reason}: {RESUME}."
    if exit_code >= 0:
        reason = f"The job's process ended with exit code {exit_code} and without a result"
        return JobStatus.FAILED, f"{reason}; the log has the details."
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    if -exit_code in _STOPPED_FROM_OUTSIDE:
        return JobStatus.INTERRUPTED, f"The job's process was stopped from outside ({name}): {RESUME}."
    if -exit_code == signal.SIGKILL:
        reason = f"The job's process was killed ({name}), most often because the machine ran out of memory"
        return (
            JobStatus.FAILED,
            f"{reason}: free some memory or lower the job's memory budget, then {RESUME}.",
        )
    return JobStatus.FAILED, f"The job's process crashed ({name}); the log has the details."


def close(record: JobRecord, job: Job, exit_code: int | None) -> None:
    """Write how the last attempt of a job ended of which nothing lives.

    Args:
        record: of the jobs.
        job: as it was recorded last.
        exit_code: as of :func:`outcome`.
    """
    folder = record.folder(job.id)
    end = folder.remote(job.attempts).end()
    if end is None:
        record.close(job.id, job.attempts, *outcome(exit_code, has_result=folder.has_result()))
        return
    for job_after in end.following:
        next_id = job_fingerprint(job_after.operation, job_after.arguments)
        record.enqueue(
            next_id, job_after.operation, job_after.arguments, job_after.title, {}, again=True, engine=job.engine
        )
    if end.status is JobStatus.DONE:
        folder.write_result(end.result)
    record.close(job.id, job.attempts, end.status, end.error)


def never_began(exit_code: int | None, *, has_log: bool) -> str:
    """Say that a job's process ended before it had taken its job.

    Args:
        exit_code: negative for a signal.
        has_log: it printed something.
    """
    how = f"ended with exit code {exit_code}"
    if exit_code is not None and exit_code < 0:
        known = -exit_code in set(signal.Signals)
        how = f"was ended by {signal.Signals(-exit_code).name if known else f'signal {-exit_code}'}"
    then = "the log has the details" if has_log else "it printed nothing; resume the job to try again"
    return f"The job's process {how} before it began; {then}."


def missing_memory(job: Job) -> str | None:
    """Say what is missing if the memory that is free now is less than the job's estimate."""
    needed = job.estimate.get("memory_bytes")
    shortage = memory_shortage("The job", needed) if isinstance(needed, (int, float)) else None
    return None if shortage is None else f"{shortage} or lower the job's memory budget, then {RESUME}."


def settle_dead_jobs(record: JobRecord) -> None:
    """Close the attempts whose process is gone while no worker lives that would do it.

    A living worker knows the exit code, so the verdict is left to it. A cancelled job of which something
    still lives stays *cancelling* until a worker has ended that too. What only a cluster knows of is left to the
    worker that will ask it.
    """
    begun = [job for job in record.unfinished() if job.status is not JobStatus.QUEUED]
    if not begun or is_alive(record.worker()):
        return
    for job in begun:
        if job.process is None or is_alive(job.process):
            continue
        if job.status is JobStatus.CANCELLING and family(job.process):
            continue
        close(record, job, None)
