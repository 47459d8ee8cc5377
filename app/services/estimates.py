"""How long a job may take: judged by its own progress, or by finished jobs of the same kind; free of Streamlit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.errors import RankScopeError
from engine.jobs import JobStatus
from engine.jobs.choice import LOCAL
from engine.operations import operations
from engine.results.words import duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.jobs import Job, Progress
    from engine.jobs.choice import EngineChoice
    from engine.operations import Operation

_AMOUNTS: Final = frozenset({"n_sequences", "length", "rank_maps", "trials", "methods", "kept_fractions"})
"""Arguments that time is proportional to."""

_IDLE: Final = frozenset(
    {"text", "text_field", "rank_map", "projection", "kept_fraction", "target", "seed", "damping", "folder", "measure"}
)
"""Arguments that hardly change the time."""

_LEAST_S: Final = 3.0
_LEAST_FRACTION: Final = 0.01
"""A pace is told from at least so much progress."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """How long a job may take at most.

    Attributes:
        seconds: at the pace of the slowest comparable job; what is already stored is not computed again.
        n_jobs: on how many finished jobs it rests.
        is_local: whether they ran on this machine.
    """

    seconds: float
    n_jobs: int
    is_local: bool = True

    def __str__(self) -> str:
        """Say it in words."""
        jobs = "a similar job" if self.n_jobs == 1 else f"{self.n_jobs} similar jobs"
        where = "this machine" if self.is_local else "the same cluster"
        return f"up to about {duration(self.seconds)}, based on {jobs} on {where}"


def estimate(operation: Operation, past: Sequence[Job], engine: EngineChoice = LOCAL) -> Estimate | None:
    """Return how long an operation may take, or ``None`` where nothing like it was ever finished there.

    Comparable are finished jobs of the same engine on the same model or analysis, with the same settings but for text
    and amount.
    """
    finished = [
        ((job.finished or 0.0) - (job.started or 0.0), operation_of(job))
        for job in past
        if job.operation == operation.name
        and job.status is JobStatus.DONE
        and job.attempts == 1
        and job.engine == engine
    ]
    paces = [
        seconds / _amount(other)
        for seconds, other in finished
        if other is not None and _settings(other) == _settings(operation)
    ]
    return Estimate(max(paces) * _amount(operation), len(paces), engine.is_local) if paces else None


def operation_of(job: Job) -> Operation | None:
    """Return what a job was asked to do, or ``None`` if today's RankScope would refuse it."""
    try:
        return operations.get(job.operation)(**job.arguments)
    except RankScopeError:
        return None


def remaining_seconds(history: Sequence[Progress], now: float) -> float | None:
    """Return how long a running job may still take at the pace of its present stage; ``None`` while unknown.

    Stages before it, such as opening the model, have a pace of their own.

    Args:
        history: its reports, oldest first.
        now: unix seconds.
    """
    known = [(p.time, p.fraction) for p in history if p.fraction is not None and p.stage == history[-1].stage]
    if not known:
        return None
    (begun, first), (latest, last) = known[0], known[-1]
    if latest - begun < _LEAST_S or last - first < _LEAST_FRACTION:
        return None
    return max(0.0, (1 - last) * (latest - begun) / (last - first) - (now - latest))


def jobs_ahead(job: Job, jobs: Sequence[Job]) -> list[Job]:
    """Return what a queued job waits for, in the order it is done; one of a cluster waits there, not here."""
    active = [other for other in jobs if not other.status.is_final and other.engine.is_local and job.engine.is_local]
    running = [other for other in active if other.status is not JobStatus.QUEUED]
    waiting = [other for other in active if other.status is JobStatus.QUEUED]
    before = [other for other in waiting if (other.position or 0) < (job.position or 0)]
    return running + sorted(before, key=lambda other: other.position or 0)


def _amount(operation: Operation) -> float:
    values = {name: getattr(operation, name, 1) for name in _AMOUNTS}
    counts = {name: len(value) if isinstance(value, tuple) else value for name, value in values.items()}
    if hasattr(operation, "rank_maps"):
        counts["rank_maps"] += 1  # the dense model is opened, and measured beside them
    return max(math.prod(counts.values()), 1.0)


def _settings(operation: Operation) -> dict[str, object]:
    return operation.model_dump(exclude=set(_AMOUNTS | _IDLE))
