"""``python -m engine.jobs.run HOME JOB_ID ENTRYPOINT``: one attempt at one job, in this process.

The process claims its job before it loads anything heavy and records its own end, so that it needs no worker
to survive (see ``engine.jobs.worker``).
"""

import faulthandler
import io
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from cache import StoreError
from cache.processes import this_process
from engine.errors import RankScopeError
from engine.jobs.job import Job, JobStatus
from engine.jobs.outcome import NOT_CLAIMED, RESUME
from engine.jobs.progress import ProgressReporter
from engine.jobs.record import JobRecord
from engine.machine import is_disk_full


def sentence(error: Exception) -> str:
    """Say in one sentence why an exception ended a job."""
    message = " ".join(str(error).split())
    if isinstance(error, (RankScopeError, StoreError)):
        return message
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        reason = f" ({message})" if message else ""
        return f"The job ran out of memory{reason}: lower its memory budget or its batch size, then {RESUME}."
    if is_disk_full(error):
        return f"The disk is full ({message}): free some space, then {RESUME}."
    kind = type(error).__name__
    return f"Unexpected {kind}: {message.rstrip('.')}. This is a bug in RankScope; the log has the details."


def run(home: Path, job_id: str, entrypoint: str) -> int:
    """Run the job if it is still queued; return the exit code."""
    record = JobRecord(home)
    attempt = record.claim(job_id, this_process())
    job = record.get(job_id)
    if attempt is None or job is None:
        return NOT_CLAIMED
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {job.title}, attempt {attempt}")
    folder = record.folder(job_id)
    try:
        with ProgressReporter(folder.progress) as report:
            result = _call(entrypoint, job, report)
        folder.write_result(result)
    except Exception as error:  # noqa: BLE001 - the boundary: every failure ends in the record, its traceback in the log
        traceback.print_exc()
        record.finish(job_id, attempt, JobStatus.FAILED, sentence(error))
        return 1
    record.finish(job_id, attempt, JobStatus.DONE)
    return 0


def _call(entrypoint: str, job: Job, report: ProgressReporter) -> object:
    module, _, function = entrypoint.partition(":")
    return getattr(import_module(module), function)(job.operation, job.arguments, report)


if __name__ == "__main__":
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
