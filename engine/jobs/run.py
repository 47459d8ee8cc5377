"""``python -m engine.jobs.run HOME JOB_ID ENTRYPOINT``: one attempt at one job, in this process.

The process claims its job before it loads anything heavy and records its own end, so that it needs no worker
to survive (see ``engine.jobs.worker``).
"""

import faulthandler
import io
import os
import sys
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from cache.processes import this_process
from engine.jobs.choice import EngineChoice
from engine.jobs.entry import QueueNext, call, sentence
from engine.jobs.job import JobStatus
from engine.jobs.outcome import NOT_CLAIMED
from engine.jobs.progress import ProgressReporter
from engine.jobs.queue import JobQueue
from engine.jobs.record import JobRecord


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
            spec = {"operation": job.operation, "arguments": job.arguments}
            result = call(entrypoint, spec, report, _queue_at(home, entrypoint, job.engine))
        folder.write_result(result)
    except Exception as error:  # noqa: BLE001 - the boundary: every failure ends in the record, its traceback in the log
        traceback.print_exc()
        record.finish(job_id, attempt, JobStatus.FAILED, sentence(error))
        return 1
    record.finish(job_id, attempt, JobStatus.DONE)
    return 0


def _queue_at(home: Path, entrypoint: str, engine: EngineChoice) -> QueueNext:
    def queue_next(operation: str, arguments: Mapping[str, object], title: str) -> None:
        JobQueue(home, entrypoint, engine).submit(operation, arguments, title=title, resubmit=True)

    return queue_next


if __name__ == "__main__":
    faulthandler.enable()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    # A path relative to where the job was asked for would be another one here.
    os.environ["RANKSCOPE_HOME"] = sys.argv[1]
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
