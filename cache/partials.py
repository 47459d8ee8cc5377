"""Folders that are being filled or thrown away; each carries the identity of the process that does it.

A process id alone can be given to a stranger after a restart, so the name carries the start as well.
"""

import contextlib
import os
import re
import shutil
import time
import uuid
from pathlib import Path

from cache.processes import ProcessId, is_alive, is_of_this_boot, this_process

_NAME = re.compile(
    r"(?P<pid>[0-9]{1,10})-((?P<since_boot>[0-9a-f-]{36}\.[0-9]{1,20})|(?P<clock>[0-9]{1,12}\.[0-9]{2}))-[0-9a-f]{32}"
)

A_DAY_S = 86_400.0


def new_partial_path(parent: Path) -> Path:
    """Return a path nobody else will choose, named after this process; nothing is created."""
    me = this_process()
    started = me.started if isinstance(me.started, str) else f"{me.started:.2f}"
    return parent / f"{me.pid}-{started}-{uuid.uuid4().hex}"


def is_partial(name: str) -> bool:
    """Whether a folder's name is that of one that is being filled or thrown away."""
    return _NAME.fullmatch(name) is not None


def remove_abandoned(parent: Path, *, elsewhere_after_s: float = A_DAY_S) -> int:
    """Remove the partial folders whose process is dead; return the bytes freed.

    Names that are not those of partial folders are left alone.

    Args:
        parent: holds them.
        elsewhere_after_s: a process that was not started since this machine was may live on another one; its folder
            is removed when nothing in it has changed for this long.
    """
    if not parent.is_dir():
        return 0
    freed_bytes = 0
    for folder in sorted(parent.iterdir()):
        name = _NAME.fullmatch(folder.name)
        if name is None:
            continue
        process = ProcessId(int(name["pid"]), name["since_boot"] or float(name["clock"]))
        if not is_alive(process) and (is_of_this_boot(process) or _idle_s(folder) >= elsewhere_after_s):
            size_bytes = _size_bytes(folder)
            shutil.rmtree(folder, ignore_errors=True)
            freed_bytes += size_bytes - _size_bytes(folder)
    return freed_bytes


def _idle_s(folder: Path) -> float:
    """Return for how long nothing in a folder has changed."""
    changed = 0.0
    for path in (folder, *folder.rglob("*")):
        with contextlib.suppress(FileNotFoundError):
            changed = max(changed, path.lstat().st_mtime)
    return time.time() - changed


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
