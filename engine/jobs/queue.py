"""The queue as the dashboard and the command line see it; works from any process."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from cache.processes import is_alive
from engine.jobs.choice import LOCAL, EngineChoice, Place
from engine.jobs.engines import describe
from engine.jobs.files import JobFolder
from engine.jobs.home import writing_to
from engine.jobs.job import Job, JobError, JobStatus, job_fingerprint
from engine.jobs.outcome import settle_dead_jobs
from engine.jobs.processes import start_detached
from engine.jobs.progress import Progress, read_history
from engine.jobs.record import JobRecord

WORKER_START_S = 2.0
"""A worker that was started has registered after this long on a machine that is not overloaded."""

WORKER_DEADLINE_S = 300.0


class JobQueue:
    """Jobs under one home folder.

    Args:
        home: holds ``jobs.sqlite3`` and a folder for each job.
        entrypoint: ``package.module:function``, called as ``function(operation, arguments, report, queue_next)`` in
            the job's process; it returns a JSON value, and hands ``queue_next`` the operation, arguments and title of
            a job that follows.
        engine: where new jobs run.
    """

    def __init__(self, home: Path, entrypoint: str = "engine.operations:run", engine: EngineChoice = LOCAL) -> None:
        self.home = home.absolute()
        self.entrypoint = entrypoint
        self.engine = engine
        self._record = JobRecord(self.home)

    def submit(
        self,
        operation: str,
        arguments: Mapping[str, object],
        *,
        title: str,
        estimate: Mapping[str, object] | None = None,
        resubmit: bool = False,
        engine: EngineChoice | None = None,
        lead: str | None = None,
    ) -> Job:
        """Queue an operation unless the same one is queued, under way or done.

        Args:
            operation: a name the entry point knows.
            arguments: JSON values; equal arguments are one job.
            title: what a person calls the job.
            estimate: ``memory_bytes`` is compared with the free memory before the start.
            resubmit: run a done job again, because what it made may have been deleted.
            engine: where it runs; by default where the queue's new jobs do.
            lead: id of the job that it helps: it runs beside that one, and is cancelled and resumed with it.

        Raises:
            JobError: the arguments are not JSON, or the record cannot be written.
        """
        values = _as_json(operation, arguments)
        job_id = job_fingerprint(operation, values)
        settle_dead_jobs(self._record)
        self._record.enqueue(
            job_id, operation, values, title, estimate or {}, again=resubmit, engine=engine or self.engine, lead=lead
        )
        self._ensure_worker()
        return self.get(job_id)

    def resume(self, job_id: str, engine: EngineChoice | None = None) -> Job:
        """Queue a failed, cancelled or interrupted job again; it continues after its last finished stage.

        Args:
            job_id: of the job.
            engine: where it runs from now on; by default where it ran before.

        Raises:
            JobError: no job has this id, or its record is damaged.
        """
        job = self.get(job_id)
        if job_fingerprint(job.operation, job.arguments) != job.id:
            raise JobError(job.error or f"The record of job {job.id} is damaged: forget it and ask for it again.")
        # A job that is done shows as failed when its result is damaged: then it runs again.
        is_failed = job.status is JobStatus.FAILED
        resumed = self.submit(
            job.operation,
            job.arguments,
            title=job.title,
            estimate=job.estimate,
            resubmit=is_failed,
            engine=engine or job.engine,
            lead=job.lead,
        )
        for helper in self._record.jobs():
            if helper.lead == job.id and helper.status.is_final and helper.status is not JobStatus.DONE:
                self.resume(helper.id, engine)
        return resumed

    def cancel(self, job_id: str, grace_s: float = 5.0) -> Job:
        """Cancel a job and its helpers: queued ones at once; running ones are asked to end, killed after ``grace_s``.

        Returns at once with the job queued for its end; a finished job is returned as it is.

        Raises:
            JobError: no job has this id.
        """
        job = self.get(job_id)
        company = [job, *(other for other in self._record.unfinished() if other.lead == job.id)]
        for each in company:
            self._record.cancel(each.id, time.time() + grace_s)
        if any(other.status is JobStatus.CANCELLING for other in self._record.unfinished()):
            self._ensure_worker()
        return self.get(job.id)

    def jobs(self) -> list[Job]:
        """All jobs, the last submitted first."""
        self._go_on()
        return [self._with_files(job) for job in self._record.jobs()]

    def get(self, job_id: str) -> Job:
        """The job with this id or this unique beginning of an id.

        Raises:
            JobError: no job, or more than one, has this id; the message says which exist.
        """
        self._go_on()
        if (job := self._record.get(job_id)) is not None:
            return self._with_files(job)
        jobs = self._record.jobs()
        found = [job for job in jobs if job_id and job.id.startswith(job_id)]
        if len(found) == 1:
            return self._with_files(found[0])
        if found:
            raise JobError(f"{job_id!r} could be {_listed(found)}: give more of the id.")
        raise JobError(f"There is no job {job_id!r}; " + (f"there is {_listed(jobs)}." if jobs else "there are none."))

    def log(self, job_id: str, last_lines: int = 200) -> str:
        """What the job printed last, over all its attempts."""
        return self._record.folder(self.get(job_id).id).read_log(last_lines)

    def progress_history(self, job_id: str) -> list[Progress]:
        """What the job reported latest in its last attempt, some minutes of it at most, oldest first."""
        return read_history(self._record.folder(self.get(job_id).id).progress)

    def wait(self, job_id: str, poll_s: float = 0.5, on_progress: Callable[[Progress], None] | None = None) -> Job:
        """Wait until a job is over, calling ``on_progress`` with each new report.

        A job whose process died is not run again.

        Raises:
            JobError: no job has this id, or no worker can be started.
        """
        last: Progress | None = None
        worker_seen = time.monotonic()
        while True:
            job = self.get(job_id)
            if job.progress is not None and job.progress != last and on_progress is not None:
                on_progress(job.progress)
            last = job.progress
            if job.status.is_final:
                return job
            now = time.monotonic()
            if job.status is JobStatus.RUNNING or is_alive(self._record.worker()):
                worker_seen = now
            elif now - worker_seen > WORKER_DEADLINE_S:
                raise JobError(f"No worker could be started for job {job.id}; {self._worker_log} says why.")
            time.sleep(poll_s)

    def recover(self) -> None:
        """Mark jobs whose process died as interrupted, and go on with what is queued or being cancelled."""
        self._go_on(at_once=True)

    def forget(self, job_id: str) -> None:
        """Delete a finished job's record and folder.

        Raises:
            JobError: no job has this id, or it is not finished.
        """
        job = self.get(job_id)
        if not self._record.forget(job.id):
            raise JobError(f"Job {job.id} ({job.title}) is {job.status}: cancel it before it is forgotten.")

    @property
    def _worker_log(self) -> Path:
        return self.home / "worker.log"

    def _go_on(self, *, at_once: bool = False) -> None:
        """Close the attempts of dead processes; what is queued, being cancelled or elsewhere is still meant to go on.

        So it gets a new worker when its own died, whoever looks; unless ``at_once``, only when a worker that was
        started before could have registered.
        """
        settle_dead_jobs(self._record)
        unfinished = self._record.unfinished()
        is_waiting = any(job.status is not JobStatus.RUNNING or not job.engine.is_local for job in unfinished)
        if is_waiting and (at_once or not self._is_starting()):
            with contextlib.suppress(JobError):  # who only looks at a home that cannot be written is not kept from it
                self._ensure_worker()

    def _is_starting(self) -> bool:
        """Whether a worker was started a moment ago by anybody."""
        with contextlib.suppress(OSError):
            return 0 <= time.time() - self._worker_log.stat().st_mtime < WORKER_START_S
        return False

    def _ensure_worker(self) -> None:
        if not is_alive(self._record.worker()):
            command = [sys.executable, "-P", "-m", "engine.jobs.worker", str(self.home), self.entrypoint]
            with writing_to(self._worker_log):
                start_detached(command, self._worker_log)

    def _with_files(self, job: Job) -> Job:
        folder = self._record.folder(job.id)
        job = replace(job, progress=folder.last_progress(), place=_place(job, folder))
        if job.status is not JobStatus.DONE:
            return job
        try:
            return replace(job, result=folder.read_result())
        except JobError as error:
            return replace(job, status=JobStatus.FAILED, error=str(error))


def _place(job: Job, folder: JobFolder) -> Place | None:
    if job.engine.is_local or job.status is JobStatus.QUEUED:
        return None
    files, cluster = folder.remote(job.attempts), describe(job.engine)
    ahead, note = files.cluster() or (None, "")
    return Place(cluster, files.host(), ahead, note)


def _as_json(operation: str, arguments: Mapping[str, object]) -> dict[str, object]:
    try:
        values: dict[str, object] = json.loads(json.dumps(dict(arguments), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise JobError(f"The arguments of {operation!r} are not made of finite JSON values: {error}.") from error
    return values


def _listed(jobs: list[Job], most: int = 5) -> str:
    names = ", ".join(f"{job.id} ({job.title})" for job in jobs[:most])
    return names + (f" and {len(jobs) - most} more" if len(jobs) > most else "")
