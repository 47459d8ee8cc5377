"""The folder that the queue lives in: closed to other accounts, and nothing in the way of its files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from engine.jobs.job import JobError

_FOLDERS = ("jobs",)
_FILES = ("jobs.sqlite3", "worker.log", "worker.lock", "create.lock")
_OTHERS = 0o077
"""What the group and everybody else may do: specifications can hold passwords, logs hold prompts."""


def open_home(home: Path) -> None:
    """Make a home, or close an existing one to other accounts, and check that nothing is in the way.

    Raises:
        JobError: it cannot be made, or holds a folder where a file belongs, or the other way round.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise JobError(
            f"The home {home} cannot be made ({error.strerror}): set RANKSCOPE_HOME to a folder that can be written."
        ) from error
    for names, belongs in ((_FOLDERS, Path.is_dir), (_FILES, Path.is_file)):
        for name in names:
            if (home / name).exists() and not belongs(home / name):
                kind = "folder" if names is _FOLDERS else "file"
                raise JobError(f"{home / name} is not a {kind}: move it away, RankScope keeps a {kind} of that name.")
    if home.stat().st_mode & _OTHERS:
        # The files first: whoever is interrupted here begins again, because the home is still open.
        for path in (*home.glob("jobs.sqlite3*"), home / "worker.log", *home.glob("jobs/*/*"), home):
            _close_to_others(path)


def open_privately(path: Path, mode: str) -> IO[bytes]:
    """Open a file that other accounts cannot read; an existing one keeps what it allows."""
    return open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))


@contextlib.contextmanager
def writing_to(path: Path) -> Iterator[None]:
    """Turn what the system refuses into a sentence.

    Raises:
        JobError: something below ``path`` cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise JobError(
            f"{path} cannot be written ({reason}): free space or fix its permissions, or set RANKSCOPE_HOME to another "
            "folder."
        ) from error


def _close_to_others(path: Path) -> None:
    # A home that belongs to another account, or lies on a read-only disk, is left as it is.
    with contextlib.suppress(OSError):
        path.chmod(path.stat().st_mode & ~_OTHERS)
