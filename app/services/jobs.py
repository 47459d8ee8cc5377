"""Jobs: submitted, followed, cancelled, resumed."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from app.services import analyses, estimates
from app.services.home import engine_of_new_jobs, queue, queue_of_new_jobs, store
from app.services.of_run import of_run
from engine import operations
from engine.errors import InvalidRankMapError, RankScopeError
from engine.jobs import Job, JobStatus
from engine.rank_map.document import parse_rank_map
from engine.rank_map.identity import map_id
from engine.results.json_form import from_json

if TYPE_CHECKING:
    from app.services.estimates import Estimate
    from engine.jobs.choice import EngineChoice
    from engine.operations import Operation
    from engine.rank_map.document import RankMap

T = TypeVar("T")


def jobs() -> list[Job]:
    """Return all jobs, the last submitted first, as they were when the run of the page first asked."""
    return of_run("jobs", lambda: queue().jobs())


def job(job_id: str) -> Job:
    """Return one job.

    Raises:
        JobError: there is none.
    """
    return queue().get(job_id)


def watched_job(operation: str, analysis_id: str | None, rank_map: RankMap | None, wanted: str | None) -> Job | None:
    """Return the active job of a kind, else the ``wanted`` one if it is of that kind.

    Args:
        operation: the kind.
        analysis_id: of which analysis; ``None`` for any.
        rank_map: what it is about; ``None`` for any.
        wanted: id of a job.
    """
    fitting = [j for j in jobs() if j.operation == operation]
    if analysis_id is not None:
        known = analyses.same_factors(analysis_id)
        fitting = [j for j in fitting if j.arguments.get("analysis") in known]
    if rank_map is not None:
        fitting = [j for j in fitting if map_id(rank_map) in maps_of(j)]
    active = [j for j in fitting if not j.status.is_final]
    chosen = [j for j in fitting if j.id == wanted]
    return next(iter([*(j for j in chosen if j in active), *active[::-1], *chosen]), None)


def maps_of(job: Job) -> frozenset[str]:
    """Return the ids of the rank maps a job is about."""
    given = [*job.arguments.get("rank_maps", ()), job.arguments.get("rank_map")]  # type: ignore[misc]
    return frozenset(filter(None, map(_id_of, filter(None, given))))


@lru_cache(maxsize=1024)
def _id_of(document: str) -> str | None:
    try:
        return map_id(parse_rank_map(document.encode()))
    except InvalidRankMapError:
        return None


def result_of(job: Job | None, kind: type[T]) -> T | None:
    """Return the result of a job that is done, or ``None``, also where an earlier version recorded something else."""
    if job is None or job.status is not JobStatus.DONE:
        return None
    try:
        return from_json(kind, job.result)
    except ValidationError:
        return None


def submit(operation: Operation) -> Job:
    """Queue an operation.

    Raises:
        RankScopeError: arguments do not fit each other, or there is no such analysis, text or model.
    """
    return operations.submit(operation, queue_of_new_jobs(), store())


def cancel_job(job_id: str) -> None:
    """Cancel a job."""
    queue().cancel(job_id)


def resume_job(job_id: str) -> None:
    """Queue a failed, cancelled or interrupted job again."""
    queue().resume(job_id)


def forget_job(job_id: str) -> None:
    """Delete a finished job's record; what it computed stays."""
    queue().forget(job_id)


def forget_finished() -> None:
    """Delete the records of all jobs that are over; what they computed stays."""
    for finished in queue().jobs():
        if finished.status.is_final:
            forget_job(finished.id)


def job_log(job_id: str, last_lines: int) -> str:
    """Return what a job printed last."""
    return queue().log(job_id, last_lines)


def remaining_seconds(job_id: str) -> float | None:
    """Return how long a running job may still take, or ``None`` while its pace is not known."""
    return estimates.remaining_seconds(queue().progress_history(job_id), time.time())


def estimate(operation: Operation) -> Estimate | None:
    """Return how long an operation may take, judged by finished ones, or ``None`` where none compares."""
    engine = _engine_of_new_jobs()
    return None if engine is None else estimates.estimate(operation, jobs(), engine)


def job_estimate(job: Job) -> Estimate | None:
    """Return how long a job may take, judged by finished ones, or ``None`` where none compares."""
    operation = estimates.operation_of(job)
    return None if operation is None else estimates.estimate(operation, jobs(), job.engine)


def jobs_before_a_new_one() -> int:
    """Return how many jobs a new one would wait for; those of a cluster wait there, not here."""
    engine = _engine_of_new_jobs()
    if engine is None or not engine.is_local:
        return 0
    return sum(job.engine.is_local and not job.status.is_final for job in jobs())


def _engine_of_new_jobs() -> EngineChoice | None:
    """Return the engine that is set; ``None`` where it is not set up, which submitting says."""
    try:
        return engine_of_new_jobs()
    except RankScopeError:
        return None
