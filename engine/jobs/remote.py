"""``python -m engine.jobs.remote FOLDER ATTEMPT ENTRYPOINT``: one attempt at a job on a machine of a cluster.

It reads and writes files of the job's folder only, never the record of jobs: the worker on the submitting machine
claimed the job, and writes its end as this process said it.
"""

import faulthandler
import os
import socket
import sys
import time
import traceback
from pathlib import Path

from engine.jobs.entry import call, sentence
from engine.jobs.files import JobFolder
from engine.jobs.job import JobStatus
from engine.jobs.outcome import NOT_CLAIMED
from engine.jobs.progress import ProgressReporter
from engine.jobs.remote_files import End, NextJob

NO_FOLDER = 76
"""Exit code where the job's folder is not on this machine."""


def run(folder: JobFolder, attempt: int, entrypoint: str) -> int:
    """Run the attempt if it is still wanted; return the exit code."""
    spec, files = folder.read_spec(), folder.remote(attempt)
    if spec is None:
        print(f"There is no {folder.path} on {socket.gethostname()}: the home has to be a folder all machines share.")
        return NO_FOLDER
    if not files.is_wanted():
        return NOT_CLAIMED
    _print_to(folder.log)
    files.write_begun(socket.gethostname())
    print(f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {spec['operation']} on {socket.gethostname()}, attempt {attempt}")
    following: list[NextJob] = []
    try:
        with ProgressReporter(folder.progress) as report:
            result = call(entrypoint, spec, report, lambda *job: following.append(NextJob(*job)))
        files.write_end(End(JobStatus.DONE, result, following=following))
    except Exception as error:  # noqa: BLE001 - the boundary: every failure is told, its traceback in the log
        traceback.print_exc()
        files.write_end(End(JobStatus.FAILED, error=sentence(error)))
        return 1
    return 0


def _print_to(log: Path) -> None:
    """Append what this process prints from now on to the job's log, wherever it went before."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            os.dup2(descriptor, stream.fileno())
            stream.reconfigure(line_buffering=True)
    os.close(descriptor)
    faulthandler.enable()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    os.environ["RANKSCOPE_HOME"] = str(place.parent.parent)
    sys.exit(run(JobFolder(place), int(sys.argv[2]), sys.argv[3]))
