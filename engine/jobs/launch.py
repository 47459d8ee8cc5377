"""``python -m engine.jobs.launch HOME JOB_ID WORD...``: claim a job for this process, then become the command.

The command keeps the process's id and start, so that it is adopted, watched and ended like a job's own process.
"""

import os
import sys
from pathlib import Path

from cache.processes import this_process
from engine.jobs.outcome import NOT_CLAIMED
from engine.jobs.record import JobRecord

COMMAND_NOT_FOUND = 127
ATTEMPT = "{attempt}"
"""Stands for the number of the attempt in the words of the command, which is not known before the claim."""


def launch(home: Path, job_id: str, words: list[str]) -> int:
    """Run the command in place of this process if the job is still queued; return an exit code if it cannot."""
    record = JobRecord(home)
    attempt = record.claim(job_id, this_process())
    if attempt is None:
        return NOT_CLAIMED
    record.folder(job_id).remote(attempt).open()
    command = [word.replace(ATTEMPT, str(attempt)) for word in words]
    try:
        os.execvp(command[0], command)  # noqa: S606 -- no shell is wanted
    except OSError as error:
        print(f"{command[0]} cannot be started: {error.strerror}.")
        return COMMAND_NOT_FOUND


if __name__ == "__main__":
    sys.exit(launch(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
