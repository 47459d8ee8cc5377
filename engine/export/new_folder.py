"""A folder that appears whole or not at all, where the user wants it."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cache.files import sync
from cache.partials import new_partial_path, remove_abandoned
from engine.errors import ExportError, ResourceError
from engine.machine import is_disk_full, system_error_number

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def require_new(folder: Path) -> None:
    """Raise a sentence unless a folder is missing or empty.

    Raises:
        ExportError: something is there, or it cannot be seen.
    """
    try:
        if folder.is_dir():
            if next(folder.iterdir(), None) is not None:
                raise ExportError(f"The folder {folder} is not empty; choose one that is new or empty.")
        elif folder.exists():
            raise ExportError(f"{folder} is a file; choose a folder that is new or empty.")
    except OSError as error:
        raise ExportError(f"The folder {folder} cannot be used ({error.strerror}); choose another.") from error


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise a sentence unless the disk has room.

    Raises:
        ResourceError: it has not.
    """
    place = folder.absolute()
    there = next(path for path in (place, *place.parents) if path.exists())
    free_bytes = shutil.disk_usage(there).free
    if free_bytes < needed_bytes:
        raise ResourceError(
            f"The export needs {needed_bytes / 1e6:,.1f} MB and the disk of {folder} has {free_bytes / 1e6:,.1f} MB "
            "free; make room, or choose a folder on another disk."
        )


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Give a partial folder beside ``folder`` and rename it at the end; after an error nothing is left.

    What a killed process leaves beside it is removed by the next one that writes there.

    Raises:
        ExportError: somebody else put something there meanwhile, or the folder cannot be written.
        ResourceError: the disk became full.
    """
    partial = new_partial_path(folder.parent)
    try:
        partial.mkdir(parents=True)
        remove_abandoned(folder.parent)
        yield partial
        for path in (*partial.rglob("*"), partial):
            sync(path)
        require_new(folder)
        partial.rename(folder)
        sync(folder.parent)
    except Exception as error:
        if is_disk_full(error):
            raise ResourceError(
                f"The disk of {folder} became full while the model was written, and nothing was left there; make "
                "room, or choose a folder on another disk."
            ) from error
        if system_error_number(error) is not None:
            raise ExportError(f"The folder {folder} cannot be written ({error}); choose another.") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
