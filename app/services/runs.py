"""What people do with measured maps: name them, remark on them, open them elsewhere, delete them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services import analyses, maps
from app.services.home import store
from app.tables.runs import run_label
from cache import Key
from engine.pipeline.reading.passages import losses_key
from engine.rank_map.notes import RunNotes
from engine.report import sources
from engine.settings import home

if TYPE_CHECKING:
    from engine.rank_map.notes import RunNote
    from engine.results.rows import ResultRow


def notes(analysis_id: str) -> dict[str, RunNote]:
    """Return id of a run -> what it is called and what is remarked on it.

    Raises:
        NamedMapError: the file is damaged.
    """
    return _notes(analysis_id).all()


def put_note(analysis_id: str, row: ResultRow, name: str, note: str) -> None:
    """Name a run and remark on it.

    Raises:
        NamedMapError: the name or the note cannot be used, or the file cannot be written.
    """
    _notes(analysis_id).put(row.id, name, note)


def saved_for(analysis_id: str, row: ResultRow) -> str:
    """Return the id of a saved map that decides what a run's does; it is saved if there is none.

    Raises:
        NamedMapError: the folder cannot be written.
    """
    assert row.rank_map is not None
    return maps.saved_for(analysis_id, row.rank_map, run_label(row, notes(analysis_id)))


def delete_run(row: ResultRow) -> None:
    """Delete everything that was measured of a map; what was measured of the dense model stays where it is its own."""
    for _, provenance in sources(row):
        stage, _, fingerprint = provenance.artifact.partition("/")
        key = Key(stage, fingerprint)
        for stored in (key, losses_key(key)):
            if stored in store():
                store().delete(stored)


def _notes(analysis_id: str) -> RunNotes:
    return RunNotes(home().notes, analyses.analysis(analysis_id).about["model_fingerprint"])
