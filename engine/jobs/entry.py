"""Calling what a job is to do, and saying why it failed."""

from collections.abc import Callable, Mapping
from importlib import import_module

from cache import StoreError
from engine.errors import RankScopeError
from engine.jobs.outcome import RESUME
from engine.jobs.progress import ProgressReporter
from engine.machine import is_disk_full

QueueNext = Callable[[str, Mapping[str, object], str], None]
"""Queues a job that follows: its operation, arguments and title."""


def sentence(error: Exception) -> str:
    """Say in one sentence why an exception ended a job."""
    message = " ".join(str(error).split())
    if isinstance(error, (RankScopeError, StoreError)):
        return message
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        reason = f" ({message})" if message else ""
        return f"The job ran out of memory{reason}: lower its memory budget or its batch size, then {RESUME}."
    if is_disk_full(error):
        return f"The disk is full ({message}): free some space, then {RESUME}."
    kind = type(error).__name__
    return f"Unexpected {kind}: {message.rstrip('.')}. This is a bug in RankScope; the log has the details."


def call(entrypoint: str, spec: Mapping[str, object], report: ProgressReporter, queue_next: QueueNext) -> object:
    """Do what a job is asked to."""
    module, _, function = entrypoint.partition(":")
    return getattr(import_module(module), function)(spec["operation"], spec["arguments"], report, queue_next)
