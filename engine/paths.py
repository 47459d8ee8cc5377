"""Paths that people give, and small files behind them; whatever is wrong with one is a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InvalidSpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

_SHOWN = 80
_confined_to: list[Path] = []


def confine_to(folders: Sequence[Path]) -> None:
    """Refuse paths outside these folders from now on: whoever gives them to this process is not its owner."""
    _confined_to[:] = [folder.resolve() for folder in folders]


def is_confined() -> bool:
    """Whether paths are given by others than the owner of this process."""
    return bool(_confined_to)


def given_path(text: str, what: str = "The path") -> Path:
    """Return the path that somebody gave, with the folder that ``~`` or ``~user`` stands for.

    Args:
        text: of the path; nothing has to be there.
        what: begins the sentence.

    Raises:
        InvalidSpecError: nothing can have this name, or nobody may look whether something has, or it is outside
            the folders that this process is confined to.
    """
    path = usable_path(text, what)
    is_inside = not _confined_to or any(path.resolve().is_relative_to(folder) for folder in _confined_to)
    # The id of a model or data set of the hub has the form of a relative path.
    if not is_inside and (path.is_absolute() or ".." in path.parts or path.exists()):
        raise InvalidSpecError(
            f"{what} {text[:_SHOWN]!r} is not in a folder that visitors of this dashboard may use; give a hub id, or a "
            "path in a folder it was started with (--allow-folder)."
        )
    return path


def usable_path(text: str, what: str) -> Path:
    """Return a path, wherever it leads, with the folder that ``~`` or ``~user`` stands for.

    Args:
        text: of the path; nothing has to be there.
        what: begins the sentence.

    Raises:
        InvalidSpecError: nothing can have this name, or nobody may look whether something has.
    """
    try:
        path = Path(text).expanduser()
        path.exists()
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidSpecError(f"{what} {text[:_SHOWN]!r} is not UTF-8; rename it, or give another.") from error
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: there is no such user
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InvalidSpecError(f"{what} {text[:_SHOWN]!r} cannot be used ({reason}); give another.") from error
    return path


def read_small_file(path: Path, what: str, most_bytes: int, expected: str) -> bytes:
    """Return the content of a regular file; a device or a pipe could be endless.

    Args:
        path: of the file.
        what: it is.
        most_bytes: it may have; of a larger one, only a byte more is read.
        expected: ends the sentence.

    Raises:
        InvalidSpecError: there is no such file, or it cannot be read, or it is larger.
    """
    try:
        if not path.is_file():
            raise InvalidSpecError(f"There is no {what} at {path}; {expected}.")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except OSError as error:
        shown = str(path)[:_SHOWN]
        raise InvalidSpecError(f"The {what} {shown} cannot be read ({error.strerror}); {expected}.") from error
    if len(content) > most_bytes:
        raise InvalidSpecError(f"The {what} {path} is larger than {most_bytes / 1e6:g} MB; {expected}.")
    return content
