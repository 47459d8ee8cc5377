"""Children that are forked from this process, so that none has to import anything again."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_MORE_BYTES = 6 * 2**30
_LARGEST_FILE = 2**30
_PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A process that leads a session of its own.

    Attributes:
        pid: of the process.
        began: when it was started, in seconds of the monotonic clock.
        code: how it ended, negative for a signal; ``None`` while it runs.
        peak_bytes: the most memory it had; 0 while it runs.
    """

    pid: int
    began: float = field(default_factory=time.monotonic)
    code: int | None = None
    peak_bytes: int = 0

    def has_ended(self) -> bool:
        """Whether it ended; its exit code is collected then."""
        if self.code is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
                self.peak_bytes = used.ru_maxrss * 1024
        return self.code is not None

    def kill(self) -> None:
        """Kill it and what is in its session."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return


def forked(act: Callable[[], None], stderr: Path, stdout: Path | None = None, *, outlives: bool = False) -> Child:
    """Start a child that does something and ends as a command would: 0, the code of ``sys.exit``, or 1 and a traceback.

    Args:
        act: what it does.
        stderr: a file that gets what it prints.
        stdout: another one for standard output.
        outlives: go on when this process ends.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if pid := os.fork():
        return Child(pid)
    code = 1
    try:
        os.setsid()
        if not outlives:
            _end_with_parent()
        _redirect(stderr, stdout or stderr)
        act()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 -- what a user would see
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def limit_resources() -> None:
    """Limit memory and the size of files of this process and of what it starts."""
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()  # noqa: PTH123, SIM115
    resource.setrlimit(resource.RLIMIT_AS, (used + _MORE_BYTES, used + _MORE_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def await_all(children: Sequence[Child]) -> list[int]:
    """Wait until all have ended; return their codes."""
    while not all(child.has_ended() for child in children):
        time.sleep(0.01)
    return [child.code or 0 for child in children]


def _end_with_parent() -> None:
    """Let Linux kill this process when the one that forked it ends, however that happens."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _redirect(stderr: Path, stdout: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for number, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
