"""The machine a stage runs on: its free and used memory, its disk, and the versions that decide numbers."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import platform
import re
import resource
import socket
import sys
from importlib.metadata import version

import psutil

_GIB = 2.0**30
_ID_DIGITS = 12

MOST_LOGITS = 2**25
"""That are computed at once; 134 MB in float32."""


def memory_shortage(what: str, needed_bytes: float, spared_bytes: int = 0) -> str | None:
    """Say what is missing if less memory is free than needed, as the beginning of a sentence.

    Args:
        what: needs the memory, for the sentence.
        needed_bytes: at its peak.
        spared_bytes: left to everything else on the machine.
    """
    free = max(free_memory_bytes() - spared_bytes, 0)
    if needed_bytes <= free:
        return None
    return (
        f"{what} needs about {needed_bytes / _GIB:.1f} GiB of memory and {free / _GIB:.1f} GiB are free: "
        "close other programs"
    )


def free_memory_bytes() -> int:
    """Return what programs can take of the memory without the machine swapping."""
    available: int = psutil.virtual_memory().available
    return available


DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_OS_ERROR = re.compile(r"os error (\d+)")


def system_error_number(error: BaseException) -> int | None:
    """Return the system's number of a failure; safetensors has it in its text only."""
    if isinstance(error, OSError):
        return error.errno
    if type(error).__name__ == "SafetensorError" and (found := _OS_ERROR.search(str(error))):
        return int(found[1])
    return None


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure, or what it was raised from, is that a disk, a quota or the longest file is full."""
    cause: BaseException | None = error
    while cause is not None:
        if system_error_number(cause) in DISK_FULL:
            return True
        cause = cause.__cause__
    return False


def peak_memory_bytes() -> int:
    """Return the largest resident size this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def return_freed_memory() -> None:
    """Give the system what was freed, where its C library keeps it for the process: blocks below 32 MB, with glibc."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def machine_id() -> str:
    """Return what tells this machine from others without naming it."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:_ID_DIGITS]


def versions() -> dict[str, str]:
    """Return the versions that decide numbers."""
    packages = ("torch", "transformers", "rankscope")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
