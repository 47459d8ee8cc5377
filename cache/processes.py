"""Processes that are known again after their id was given to another one, and after the clock was set."""

import contextlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

_WALL_CLOCK_SLACK_S = 10.0
"""A wall-clock start time may move this far; taking a living process for dead costs more than the opposite."""

_START_FIELD = 19
"""Of the fields of /proc/PID/stat after the name, which ends with the last parenthesis."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, named so that a later one with the same pid is another.

    Attributes:
        pid: the process id.
        started: on Linux ``BOOT_ID.TICKS``, the machine's start and the clock ticks from there to the start of the
            process: setting the clock moves neither. Elsewhere, and in what older versions wrote, unix seconds.
    """

    pid: int
    started: str | float


def this_process() -> ProcessId:
    """Identify the process that asks."""
    return identify(os.getpid())


def identify(pid: int) -> ProcessId:
    """Identify the process that has an id now.

    Raises:
        psutil.NoSuchProcess: no process has it.
    """
    return ProcessId(pid, _since_boot(pid) if _boot_id() is not None else psutil.Process(pid).create_time())


def is_same(process: ProcessId) -> bool:
    """Whether the process with this id is still the one that was named; it may have ended unseen (a zombie).

    Raises:
        psutil.NoSuchProcess: no process has the id.
        psutil.AccessDenied: the system does not tell.
    """
    if isinstance(process.started, str):
        return _boot_id() is not None and _since_boot(process.pid) == process.started
    return abs(psutil.Process(process.pid).create_time() - process.started) <= _WALL_CLOCK_SLACK_S


def is_alive(process: ProcessId | None) -> bool:
    """Whether the process still runs; a zombie does not."""
    if process is None:
        return False
    try:
        return is_same(process) and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except psutil.NoSuchProcess:
        return False


def is_of_this_boot(process: ProcessId) -> bool:
    """Whether the process was started since the machine was; True where that is not known."""
    return not isinstance(process.started, str) or process.started.rpartition(".")[0] == _boot_id()


def _since_boot(pid: int) -> str:
    try:
        described = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        raise psutil.NoSuchProcess(pid) from None
    return f"{_boot_id()}.{int(described[described.rindex(b')') + 2 :].split()[_START_FIELD])}"


@cache
def _boot_id() -> str | None:
    """Return what Linux calls this run of the machine; ``None`` on other systems."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return None
