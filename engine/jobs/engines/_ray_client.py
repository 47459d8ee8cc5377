"""Ray's job submission service, in the few words that an engine of jobs needs; loads Ray when it connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

_NAMED: Final = {"cpu": "entrypoint_num_cpus", "gpu": "entrypoint_num_gpus", "memory": "entrypoint_memory"}
"""Resources that Ray has a word of its own for."""


class UnreachableError(Exception):
    """No cluster answers as one should."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the cluster says of a submission.

    Attributes:
        is_waiting: no machine has begun with it.
        is_over: nothing happens to it any more.
        was_stopped: somebody asked the cluster to end it.
        waited_too_long: the cluster gave it up before any machine had begun with it.
        exit_code: of its process, negative for a signal; None where it is not known.
        message: of the cluster, its first line.
    """

    is_waiting: bool
    is_over: bool
    was_stopped: bool
    waited_too_long: bool
    exit_code: int | None
    message: str


class RayClient:
    """The jobs of one cluster.

    Args:
        address: of the cluster's dashboard.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def connect(self) -> None:
        """See that the cluster answers.

        Raises:
            UnreachableError: it does not.
        """
        self._jobs  # noqa: B018 -- connects

    def submit(self, name: str, command: str, resources: Mapping[str, float]) -> None:
        """Submit a command, unless it was submitted under this name already.

        Raises:
            UnreachableError: the cluster does not answer.
        """
        # Without a number of cores Ray grants none, and holds every library to one thread.
        wanted = {"cpu": 1.0, **resources}
        named = {_NAMED[kind]: amount for kind, amount in wanted.items() if kind in _NAMED}
        others = {kind: amount for kind, amount in wanted.items() if kind not in _NAMED}
        if "entrypoint_memory" in named:
            named["entrypoint_memory"] = int(named["entrypoint_memory"])
        try:
            self._jobs.submit_job(entrypoint=command, submission_id=name, entrypoint_resources=others, **named)
        except (OSError, RuntimeError) as error:
            if self.ask(name) is None:
                raise UnreachableError(f"{self._cluster} does not take the job ({_last_line(error)})") from error

    def ask(self, name: str) -> Answer | None:
        """Return how a submission is; None if the cluster does not know it.

        Raises:
            UnreachableError: the cluster does not answer.
        """
        try:
            info = self._jobs.get_job_info(name)
        except (OSError, RuntimeError) as error:
            if "status code 404" in str(error):
                return None
            raise self._unreachable(error) from error
        return Answer(
            is_waiting=info.status == "PENDING",
            is_over=info.status.is_terminal(),
            was_stopped=info.status == "STOPPED",
            waited_too_long=info.error_type == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT",
            exit_code=info.driver_exit_code,
            message=(info.message or "").strip().partition("\n")[0],
        )

    def n_ahead(self, name: str) -> int:
        """Return how many submissions wait at the cluster since before this one.

        Raises:
            UnreachableError: the cluster does not answer.
        """
        try:
            waiting = [job for job in self._jobs.list_jobs() if job.status == "PENDING"]
        except (OSError, RuntimeError) as error:
            raise self._unreachable(error) from error
        since = next((job.start_time or 0 for job in waiting if job.submission_id == name), 0)
        return sum((job.start_time or 0) < since for job in waiting)

    def stop(self, name: str) -> None:
        """Ask a submission to end; the cluster kills it some seconds later.

        Raises:
            UnreachableError: the cluster does not answer.
        """
        try:
            self._jobs.stop_job(name)
        except (OSError, RuntimeError) as error:
            if "status code 404" not in str(error):
                raise self._unreachable(error) from error

    def forget(self, name: str) -> None:
        """Make room for another submission of the same name.

        Raises:
            UnreachableError: the cluster does not answer.
        """
        try:
            self._jobs.delete_job(name)
        except (OSError, RuntimeError) as error:
            raise self._unreachable(error) from error

    @cached_property
    def _jobs(self) -> JobSubmissionClient:
        from ray.job_submission import JobSubmissionClient

        try:
            jobs = JobSubmissionClient(self._address)
        except (OSError, RuntimeError) as error:
            raise self._unreachable(error) from error
        if jobs.get_address() != self._address:
            raise UnreachableError(
                f"RAY_ADDRESS or RAY_API_SERVER_ADDRESS is set, so that Ray asks {jobs.get_address()} and not "
                f"{self._address}; unset it"
            )
        return jobs

    @property
    def _cluster(self) -> str:
        return f"The Ray cluster {self._address}"

    def _unreachable(self, error: Exception) -> UnreachableError:
        return UnreachableError(f"{self._cluster} does not answer ({_last_line(error)})")


def _last_line(error: Exception) -> str:
    """Return what matters of an error that may hold a traceback of the cluster."""
    lines = [line for line in str(error).strip().splitlines() if line.strip(" .")]
    return (lines[-1] if lines else type(error).__name__).strip(" .")
