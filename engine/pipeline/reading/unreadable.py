"""What is left out when stored results are read, because it is damaged or of a newer version; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache import read_stage

if TYPE_CHECKING:
    from cache import Artifact, Store

_CHECKED_WHOLE = ("evaluation", "comparison", "sensitivity", "trial", "task-scores", "summaries", "cost", "memory")


def unreadable_warning(store: Store) -> str | None:
    """Say which stored result cannot be read and what to do; None if all can.

    Of an analysis, whose spectra are large, only names and sizes are checked here; whoever opens it checks the rest.
    """
    _, errors = read_stage(store, "analysis", lambda artifact: artifact.key)
    for stage in _CHECKED_WHOLE:
        errors += read_stage(store, stage, _verify)[1]
    if not errors:
        return None
    more = f" {len(errors) - 1} more cannot be read; `rankscope cache verify` names them." if len(errors) > 1 else ""
    return f"{errors[0]}{more}"


def _verify(artifact: Artifact) -> None:
    artifact.verify()
