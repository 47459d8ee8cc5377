"""Files that a command writes where somebody wants them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cache import write_in_one_step
from engine.errors import InvalidSpecError


def write_file(path: Path, content: str) -> None:
    """Create a file, or replace one in one step; what is no regular file, such as a link or a pipe, is written into.

    Raises:
        InvalidSpecError: it cannot be written; what was there is as it was.
    """
    try:
        if os.path.lexists(path) and not _is_replaceable(path):
            with open(path, "w", encoding="utf-8", opener=_open_read_pipe) as file:
                file.write(content)
        else:
            mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666
            write_in_one_step(path, content.encode(), mode=mode)
    except OSError as error:
        raise InvalidSpecError(f"The file {path} cannot be written ({error.strerror}); choose another.") from error


def _open_read_pipe(path: str, flags: int) -> int:
    """Open a file, which would wait for ever where it is a pipe that nobody reads."""
    opened = os.open(path, flags | os.O_NONBLOCK)
    os.set_blocking(opened, True)
    return opened


def _is_replaceable(path: Path) -> bool:
    is_regular = path.is_file() and not path.is_symlink()
    return is_regular and all(os.access(one, os.W_OK) for one in (path, path.parent))
