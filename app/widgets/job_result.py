"""Where the result of a finished job is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.pages import page_link
from engine.jobs import JobStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.jobs import Job

_PLACES: Final[Mapping[str, tuple[str, str]]] = {
    "analyse": ("overview", "Open the analysis"),
    "analyse-shard": ("overview", "Open the analysis"),
    "evaluate": ("results", "Show what was measured"),
    "compare": ("results", "Show the comparison"),
    "refine": ("results", "Show the refined map"),
    "post-train": ("results", "Show the results"),
    "sensitivity": ("sensitivity", "Show the sensitivity"),
    "passages": ("sensitivity", "Show the passages"),
    "search": ("allocation", "Show it on the board"),
    "export": ("allocation", "Show the export"),
    "compress": ("allocation", "Show the model"),
}
_ID_DIGITS: Final = 12


def link_to_result(job: Job) -> None:
    """Offer the page that shows what a job that is done brought; nothing for others."""
    if job.status is not JobStatus.DONE or job.operation not in _PLACES:
        return
    page, label = _PLACES[job.operation]
    made = job.result if isinstance(job.result, dict) else {}
    analysis = made.get("analysis") or job.arguments.get("analysis")
    if isinstance(analysis, str):
        page_link(page, label, analysis=analysis[:_ID_DIGITS], job=job.id)
