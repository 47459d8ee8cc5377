"""Folders that are being filled or thrown away; each carries the identity of the process that does it.

A process id alone can be given to a stranger after a restart, so the name carries the start time as well.
"""

import os
import re
import shutil
import uuid
from pathlib import Path

import psutil

_NAME = re.compile(r"(?P<pid>[0-9]{1,10})-(?P<started>[0-9]{1,12}\.[0-9]{2})-[0-9a-f]{32}")
# The system derives start times from its clock, which may be corrected between two readings; taking a living
# writer for dead would cost its work, taking a dead one for living costs only the space until it is gone.
_CLOCK_SLACK_S = 10.0


def new_partial_path(parent: Path) -> Path:
    """Return a path nobody else will choose, named after this process; nothing is created."""
    started = psutil.Process().create_time()
    return parent / f"{os.getpid()}-{started:.2f}-{uuid.uuid4().hex}"


def remove_abandoned(parent: Path) -> int:
    """Remove the partial folders whose process is dead; return the bytes freed.

    Names that are not those of partial folders are left alone.
    """
    if not parent.is_dir():
        return 0
    freed_bytes = 0
    for folder in sorted(parent.iterdir()):
        name = _NAME.fullmatch(folder.name)
        if name is not None and not _is_running(int(name["pid"]), float(name["started"])):
            size_bytes = _size_bytes(folder)
            shutil.rmtree(folder, ignore_errors=True)
            freed_bytes += size_bytes - _size_bytes(folder)
    return freed_bytes


def _is_running(pid: int, started: float) -> bool:
    try:
        process = psutil.Process(pid)
        is_same = abs(process.create_time() - started) <= _CLOCK_SLACK_S
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _size_bytes(folder: Path) -> int:
    """Add up the files below a folder that another process may be removing at the same time."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(parent) / name).lstat().st_size
            except FileNotFoundError:
                continue
    return total
