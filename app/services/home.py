"""Where everything of this installation lies: the store and the queue of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.of_run import of_run
from cache import DirectoryStore
from engine.export.specs import check_export_name
from engine.jobs import JobQueue
from engine.jobs.engines import choose
from engine.settings import home, job_settings

if TYPE_CHECKING:
    from pathlib import Path

    from engine.jobs.choice import EngineChoice


def store() -> DirectoryStore:
    """Return the store of the configured home."""
    return home().store


def stored_of(stage: str) -> tuple[str, ...]:
    """Return the names of what is stored of a stage, which grow while a job runs."""
    return of_run(f"stored {stage}", lambda: tuple(map(str, store().keys(stage))))


def queue() -> JobQueue:
    """Return the queue of the configured home, to look at."""
    return JobQueue(home().root)


def engine_of_new_jobs() -> EngineChoice:
    """Return the engine that is set.

    Raises:
        RankScopeError: it is not set up.
    """
    return choose(job_settings())


def queue_of_new_jobs() -> JobQueue:
    """Return the queue of the configured home, whose new jobs run on the engine that is set.

    Raises:
        RankScopeError: the engine is not set up.
    """
    return JobQueue(home().root, engine=engine_of_new_jobs())


def export_folder(name: str) -> Path:
    """Return where an export of this name is written.

    Raises:
        InvalidSpecError: the name cannot be used.
    """
    return home().exports / check_export_name(name)
