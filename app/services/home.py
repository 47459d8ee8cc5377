"""Where everything of this installation lies: the store and the queue of jobs."""

from __future__ import annotations

from cache import DirectoryStore
from engine.jobs import JobQueue
from engine.settings import home


def store() -> DirectoryStore:
    """Return the store of the configured home."""
    return home().store


def queue() -> JobQueue:
    """Return the queue of the configured home."""
    return JobQueue(home().root)
