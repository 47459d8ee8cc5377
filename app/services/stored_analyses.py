"""Analyses as things that are kept: their sizes, names and end."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from app.services import jobs
from app.services.analyses import analysis_headings
from app.services.home import store
from engine.jobs import JobError
from engine.pipeline.portable import export_analysis
from engine.pipeline.removal import stored_bytes, used_alone
from engine.rank_map.notes import ANALYSES, RunNotes
from engine.settings import home

if TYPE_CHECKING:
    from engine.pipeline.reading.analyses import AnalysisHeading


class StoredAnalysis(NamedTuple):
    """An analysis, and the bytes that are free once it is deleted."""

    heading: AnalysisHeading
    n_bytes: int


def stored_analyses() -> list[StoredAnalysis]:
    """Return every analysis, newest first."""
    return [
        StoredAnalysis(heading, stored_bytes(store(), used_alone(store(), _together(heading))))
        for heading in analysis_headings()
    ]


def rename(heading: AnalysisHeading, name: str) -> None:
    """Give an analysis a name; an empty one takes it away.

    Raises:
        NamedMapError: the name cannot be used, or the file cannot be written.
    """
    RunNotes(home().notes, ANALYSES).put(heading.id, name, "")


def archive(heading: AnalysisHeading) -> bytes:
    """Return an analysis as a file for another machine, without its factors.

    Raises:
        StoreError: something of it is damaged.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / "analysis.tar"
        export_analysis(store(), heading.id, file, with_factors=False)
        return file.read_bytes()


def delete(heading: AnalysisHeading) -> None:
    """Delete an analysis with the factors that only it uses.

    Raises:
        JobError: a job works with it.
        NamedMapError: its name cannot be removed.
    """
    together = _together(heading)
    for job in jobs.jobs():
        if not job.status.is_final and (job.operation == "analyse" or job.arguments.get("analysis") in together):
            raise JobError(f"The job '{job.title}' may use this analysis; wait until it has ended, or cancel it.")
    for key in used_alone(store(), together):
        store().delete(key)
    rename(heading, "")


def _together(heading: AnalysisHeading) -> tuple[str, ...]:
    return heading.id, *heading.replaces
