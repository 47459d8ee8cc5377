"""Jobs on a Ray cluster, by its job submission service; the cluster queues them and knows what is free.

An attempt has a submission id of its own, so that it runs once whoever submits it. That it was submitted is noted after
it was; a worker that finds an attempt without the note submits it, and is told if it was there already.
"""

from __future__ import annotations

import shlex
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from engine.jobs.engines._ray_client import Answer, RayClient, UnreachableError
from engine.jobs.job import Job, JobError, JobStatus
from engine.jobs.outcome import RESUME, close
from engine.jobs.remote_files import FILES_ARRIVE_S, WROTE_ITS_END

if TYPE_CHECKING:
    from engine.jobs.choice import EngineChoice
    from engine.jobs.record import JobRecord
    from engine.settings import JobSettings

ASK_EVERY_S: Final = 0.5
ASK_POSITION_EVERY_S: Final = 5.0


class RayEngine:
    """Submits ``engine.jobs.remote`` with the resources that the job asks for."""

    one_at_a_time = False

    def __init__(self, record: JobRecord, entrypoint: str) -> None:
        self._record = record
        self._entrypoint = entrypoint
        self._clients: dict[str, RayClient] = {}

    @staticmethod
    def settings_of(given: JobSettings, resources: dict[str, float]) -> dict[str, str]:  # noqa: ARG004
        """Return the address of the cluster."""
        if find_spec("ray") is None:
            raise JobError("The engine ray needs the package ray: pip install 'rankscope[ray]'.")
        if not given.ray_address:
            raise JobError(
                "The engine ray needs RANKSCOPE_RAY_ADDRESS, the address of the cluster's dashboard, such as "
                "http://10.0.0.1:8265."
            )
        if urlsplit(given.ray_address).scheme not in ("http", "https"):
            raise JobError(
                f"RANKSCOPE_RAY_ADDRESS is {given.ray_address!r}; expected the address of the cluster's dashboard, "
                "such as http://10.0.0.1:8265."
            )
        return {
            "address": given.ray_address.rstrip("/"),
            "patience_s": str(given.ray_patience_s),
            "python": given.python,
        }

    @staticmethod
    def describe(choice: EngineChoice) -> str:
        """Name the cluster by its address."""
        return f"the Ray cluster {choice.settings['address']}"

    def start(self, job: Job) -> RayAttempt | None:
        """Submit a job; one that no cluster takes fails at once, in a sentence."""
        client = self._client(job.engine)
        try:
            client.connect()
        except UnreachableError as error:
            self._record.refuse(job.id, job.attempts, f"{error}; start it, or correct the address, then {RESUME}.")
            return None
        if self._record.claim(job.id, None) is None:
            return None
        claimed = self._record.get(job.id)
        if claimed is None:
            return None
        return RayAttempt(self._record, claimed, client, self._entrypoint)

    def adopt(self, job: Job) -> RayAttempt | None:
        """Go on asking the cluster for an attempt."""
        return RayAttempt(self._record, job, self._client(job.engine), self._entrypoint)

    def _client(self, choice: EngineChoice) -> RayClient:
        address = choice.settings["address"]
        return self._clients.setdefault(address, RayClient(address))


class RayAttempt:
    """One submission."""

    def __init__(self, record: JobRecord, job: Job, client: RayClient, entrypoint: str) -> None:
        self._record = record
        self._job = job
        self._client = client
        self._entrypoint = entrypoint
        self._folder = record.folder(job.id)
        self._files = self._folder.remote(job.attempts)
        self._name = f"rankscope-{job.id}-{job.created * 1000:.0f}-{job.attempts}"
        self._patience_s = float(job.engine.settings["patience_s"])
        self._known_at = time.monotonic()
        self._next_s = self._next_position_s = 0.0
        self._is_begun = self._is_stopped = False
        self._ended_at: float | None = None

    def wait(self, timeout_s: float) -> None:
        """Let the time pass."""
        time.sleep(timeout_s)

    def advance(self) -> bool:
        """Submit it if that has not been done, stop it if it was cancelled, record its end."""
        job = self._record.get(self._job.id)
        if job is None or job.attempts != self._job.attempts or job.status.is_final:
            return True
        cancels = job.status is JobStatus.CANCELLING and not self._is_stopped
        if time.monotonic() < self._next_s and not cancels:
            return False
        self._next_s = time.monotonic() + ASK_EVERY_S
        self._folder.shorten_log()
        try:
            if self._files.cluster() is None:
                self._submit(job)
            if cancels:
                self._files.call_off()
                self._client.stop(self._name)
                self._is_stopped = True
            answer = self._client.ask(self._name)
            if answer is None:
                return self._is_given_up(
                    job, f"The job is unknown to {RayEngine.describe(job.engine)}, which was restarted"
                )
            self._known_at = time.monotonic()
            return self._is_over(job, answer)
        except UnreachableError as error:
            return self._is_given_up(job, str(error))

    def _is_over(self, job: Job, answer: Answer) -> bool:
        if answer.is_waiting:
            return self._has_left_the_queue(job)
        if not self._is_begun and self._files.host() is not None:
            self._is_begun = True
            self._record.begin(job.id, job.attempts)
        return answer.is_over and self._has_ended(job, answer)

    def _submit(self, job: Job) -> None:
        self._files.open()
        remote = ("-P", "-m", "engine.jobs.remote", str(self._folder.path), str(job.attempts), self._entrypoint)
        command = shlex.join([job.engine.settings["python"], *remote])
        self._client.submit(self._name, f"exec {command}", job.engine.resources)
        self._files.write_cluster(None, "")

    def _has_left_the_queue(self, job: Job) -> bool:
        # What was never begun has nothing that could outlive it, and its process leaves as soon as it begins.
        if self._is_stopped:
            return self._closed(job, JobStatus.CANCELLED, None)
        if time.monotonic() >= self._next_position_s:
            self._next_position_s = time.monotonic() + ASK_POSITION_EVERY_S
            self._files.write_cluster(self._client.n_ahead(self._name), "")
        return False

    def _has_ended(self, job: Job, answer: Answer) -> bool:
        if answer.waited_too_long and not self._is_stopped:
            self._client.forget(self._name)
            self._submit(job)
            return False
        if self._files.end() is None and answer.exit_code in WROTE_ITS_END:
            self._ended_at = self._ended_at or time.monotonic()
            if time.monotonic() < self._ended_at + FILES_ARRIVE_S:
                return False
        if self._files.end() is not None or answer.exit_code is not None:
            close(self._record, job, answer.exit_code)
            return True
        why = "was stopped at the cluster" if answer.was_stopped else f"was lost by the cluster ({answer.message})"
        return self._closed(job, JobStatus.INTERRUPTED, f"The job {why}: {RESUME}.")

    def _is_given_up(self, job: Job, why: str) -> bool:
        if self._files.end() is not None:
            close(self._record, job, None)
            return True
        if time.monotonic() < self._known_at + self._patience_s:
            return False
        self._files.call_off()
        return self._closed(job, JobStatus.INTERRUPTED, f"{why}, for {self._patience_s:g} s: {RESUME}.")

    def _closed(self, job: Job, status: JobStatus, error: str | None) -> bool:
        self._record.close(job.id, job.attempts, status, error)
        return True
