"""Paths that people give, and small files behind them; whatever is wrong with one is a sentence."""

from __future__ import annotations

from pathlib import Path

from engine.errors import InvalidSpecError

_SHOWN = 80


def given_path(text: str, what: str = "The path") -> Path:
    """Return the path that somebody gave, with the folder that ``~`` or ``~user`` stands for.

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
