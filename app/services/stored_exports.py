"""Exported models: what lies where, how large it is, renamed and deleted; free of Streamlit."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from app.services import jobs
from app.services.analyses import analysis_headings
from cache.partials import is_partial, new_partial_path
from engine.errors import ExportError
from engine.export.new_folder import require_new
from engine.export.record import read_record
from engine.export.specs import check_export_name
from engine.jobs import JobError
from engine.operations import Export
from engine.paths import is_confined
from engine.results.words import method_title, percent
from engine.settings import home

if TYPE_CHECKING:
    from engine.export.outcome import ExportedModel
    from engine.jobs import Job
    from engine.pipeline.reading.analyses import AnalysisHeading


class StoredExport(NamedTuple):
    """An exported folder.

    Attributes:
        folder: where it lies.
        what: is in it, for people; empty where the folder does not say.
        n_bytes: of its files.
    """

    folder: Path
    what: str
    n_bytes: int

    @property
    def label(self) -> str:
        """Its name, with the way to it where it lies elsewhere than the others."""
        return self.folder.name if self.folder.parent == home().exports else str(self.folder)


def stored_exports() -> list[StoredExport]:
    """Return the folders among the exports of the home, and those that jobs wrote elsewhere, the largest first."""
    folder = home().exports
    found = [child for child in folder.iterdir() if not is_partial(child.name)] if folder.is_dir() else []
    found += [path for path in _written_elsewhere() if read_record(path) is not None]
    return sorted((_sized(path) for path in found if path.is_dir() and not path.is_symlink()), key=lambda e: -e.n_bytes)


def analyses_of(export: StoredExport) -> list[AnalysisHeading]:
    """Return the analyses of an exported model, which can no longer be measured once it is elsewhere."""
    return [heading for heading in analysis_headings() if _is_in(_model_of(heading), export.folder)]


def rename(export: StoredExport, name: str) -> None:
    """Give an export's folder another name.

    Raises:
        InvalidSpecError: the name cannot be used.
        ExportError: it is taken, or the folder cannot be renamed.
        JobError: a job uses it.
    """
    _move(export, export.folder.with_name(check_export_name(name)))


def delete(export: StoredExport) -> None:
    """Delete an export.

    Raises:
        ExportError: the folder cannot be deleted.
        JobError: a job uses it.
    """
    gone = new_partial_path(export.folder.parent)
    _move(export, gone)  # so that no half of it is ever an export
    shutil.rmtree(gone, ignore_errors=True)


def _move(export: StoredExport, to: Path) -> None:
    for job in jobs.jobs():
        if not job.status.is_final and any(_is_in(place, export.folder) for place in _places_of(job)):
            raise JobError(f"The job '{job.title}' uses this export; wait until it has ended, or cancel it.")
    require_new(to)
    try:
        export.folder.rename(to)
    except OSError as error:
        raise ExportError(f"The folder {export.folder} cannot be changed ({error.strerror}).") from error


def _places_of(job: Job) -> list[str]:
    """Return everything a job names that may be a path, its analysis' model included."""
    known = {heading.id: heading for heading in analysis_headings()}
    analysis = known.get(str(job.arguments.get("analysis")))
    named = [value for value in job.arguments.values() if isinstance(value, str)]
    return named if analysis is None else [*named, _model_of(analysis)]


def _model_of(heading: AnalysisHeading) -> str:
    return str(heading.about["spec"]["model"].get("location", ""))


def _is_in(place: str, folder: Path) -> bool:
    with suppress(OSError, ValueError):  # a rank map's document is no path
        return bool(place) and Path(place).resolve().is_relative_to(folder.resolve())
    return False


def _written_elsewhere() -> list[Path]:
    if is_confined():
        return []
    written = (Path(str(job.arguments["folder"])) for job in jobs.jobs() if job.operation == Export.name)
    return [path for path in dict.fromkeys(written) if path.parent != home().exports]


def _sized(folder: Path) -> StoredExport:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    record = read_record(folder)
    return StoredExport(
        folder, "" if record is None else _in_words(record.exported), sum(path.stat().st_size for path in files)
    )


def _in_words(exported: ExportedModel) -> str:
    kept = f"{method_title(exported.method)}, {percent(exported.kept_fraction)} kept"
    return f"{exported.model}: {kept}; {exported.format}, {exported.dtype}"
