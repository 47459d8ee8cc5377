"""``python -m engine.jobs.worker HOME ENTRYPOINT``: run what is queued, by the engine of each job, then leave.

Jobs of this machine run one at a time, a job and its helpers at once; those of a cluster are handed over as they come
(see ``engine.jobs.engines``).

Who records what on this machine: a job's process claims its job and writes its own end (see ``engine.jobs.record``).
The worker starts processes, ends cancelled ones, and records only what a process cannot: that it died. That is
the simplest design in which the worker may be killed at any moment. The job goes on without it and still ends
in the record; the next worker finds it running and adopts it by waiting for its process. If a worker dies
before its child has claimed the job, the next worker starts a second child; the loser of the claim leaves.

No submitted job is forgotten when the worker leaves: a submitter first commits its job, then starts a worker
unless one is registered. A leaving worker unregisters, releases the lock, and only then looks at the queue
once more. A submitter that saw the registration, or whose new worker found the lock taken, had committed
before that last look.

On a cluster no process can reach the record. There the worker claims a job before it hands it over, and records the
end that the job's process left in a file; a worker that is killed between the two is followed by one that asks the
cluster.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from cache.processes import this_process
from engine.jobs.engines import Attempt, JobEngine, engines
from engine.jobs.job import Job, JobStatus
from engine.jobs.record import JobRecord

POLL_S = 0.1
_BETWEEN_JOBS_S = 0.01


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
    worker = Worker(record, entrypoint)
    try:
        while worker.go_on():
            worker.pause()
    finally:
        record.set_worker(None)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    engine: JobEngine
    attempt: Attempt
    company: str


class Worker:
    """Begins what is queued and looks after what is under way."""

    def __init__(self, record: JobRecord, entrypoint: str) -> None:
        self._record = record
        self._engines: dict[str, JobEngine] = {name: engines.get(name)(record, entrypoint) for name in engines.names()}
        self._under_way: dict[str, _UnderWay] = {}

    def go_on(self) -> bool:
        """Adopt what runs already, begin what may begin, and look after all of it; False when nothing is left."""
        unfinished = self._record.unfinished()
        for job in sorted(unfinished, key=lambda job: job.status is JobStatus.QUEUED):
            if job.id not in self._under_way:
                self._take_on(job)
        for job_id, under_way in list(self._under_way.items()):
            if under_way.attempt.advance():
                del self._under_way[job_id]
        return bool(unfinished or self._under_way)

    def pause(self) -> None:
        """Wait a moment, less if a job ends that runs alone."""
        if len(self._under_way) == 1:
            (alone,) = self._under_way.values()
            alone.attempt.wait(POLL_S)
        elif self._under_way:
            time.sleep(POLL_S)
        else:
            time.sleep(_BETWEEN_JOBS_S)

    def _take_on(self, job: Job) -> None:
        engine = self._engines.get(job.engine.name)
        if engine is None:
            known = ", ".join(self._engines)
            error = f"There is no engine {job.engine.name!r}; there are {known}."
            self._record.refuse(job.id, job.attempts, error)
            self._record.close(job.id, job.attempts, JobStatus.FAILED, error)
            return
        others = (other for other in self._under_way.values() if other.engine is engine)
        if engine.one_at_a_time and any(other.company != job.company for other in others):
            return
        attempt = engine.start(job) if job.status is JobStatus.QUEUED else engine.adopt(job)
        if attempt is not None:
            self._under_way[job.id] = _UnderWay(engine, attempt, job.company)


if __name__ == "__main__":
    work(Path(sys.argv[1]), sys.argv[2])
