"""Jobs on this machine, one after another, because each uses all cores and much memory."""

import sys

from engine.jobs.choice import EngineChoice
from engine.jobs.engines._process import ProcessAttempt, begin_process
from engine.jobs.job import Job
from engine.jobs.outcome import missing_memory
from engine.jobs.processes import LocalProcess
from engine.jobs.record import JobRecord
from engine.settings import JobSettings


class LocalEngine:
    """Starts ``engine.jobs.run``, which claims its job and records its own end."""

    one_at_a_time = True

    def __init__(self, record: JobRecord, entrypoint: str) -> None:
        self._record = record
        self._entrypoint = entrypoint

    @staticmethod
    def settings_of(given: JobSettings, resources: dict[str, float]) -> dict[str, str]:  # noqa: ARG004
        """Return nothing: a job has the whole machine."""
        return {}

    @staticmethod
    def describe(choice: EngineChoice) -> str:  # noqa: ARG004
        """Name this machine."""
        return "this machine"

    def start(self, job: Job) -> ProcessAttempt | None:
        """Begin a job unless too little memory is free."""
        if (refusal := missing_memory(job)) is not None:
            self._record.refuse(job.id, job.attempts, refusal)
            return None
        command = [sys.executable, "-P", "-m", "engine.jobs.run", str(self._record.home), job.id, self._entrypoint]
        process = begin_process(self._record, job, command)
        return None if process is None else ProcessAttempt(self._record, job, process)

    def adopt(self, job: Job) -> ProcessAttempt | None:
        """Wait for the process of a job."""
        return None if job.process is None else ProcessAttempt(self._record, job, LocalProcess(job.process))
