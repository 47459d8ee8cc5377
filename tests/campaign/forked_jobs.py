"""Workers and processes of jobs that are forked from this one, so that none of them imports anything again."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.campaign.forking import forked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_STANDARD = 3
_MOST_FILES = 4096


class ForkedProcess:
    """What ``python -m MODULE WORD...`` would start: it outlives this process, and has none of its open files.

    Args:
        command: as it would be typed.
        log: gets what the process prints, and lies in the folder it runs in.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._command = command
        self._child = forked(partial(_run, command, log.parent), log, outlives=True)
        self.pid = self._child.pid

    def poll(self) -> int | None:
        """Return its exit code, negative for a signal; ``None`` while it runs."""
        return self._child.code if self._child.has_ended() else None

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code once it has ended.

        Raises:
            subprocess.TimeoutExpired: it had not after so many seconds.
        """
        began = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - began > timeout:
                raise subprocess.TimeoutExpired(self._command, timeout)
            time.sleep(0.01)
        return code


@contextmanager
def forked_jobs() -> Iterator[None]:
    """Fork workers and jobs' processes where they would be started, here and in what is forked from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("engine.jobs.processes._started", ForkedProcess)
        yield


def _run(command: Sequence[str], folder: Path) -> None:
    module = command.index("-m") + 1
    # A lock that the parent holds would be held by its child, too.
    os.closerange(_STANDARD, _MOST_FILES)
    os.chdir(folder)
    sys.argv = list(command[module:])
    runpy.run_module(command[module], run_name="__main__", alter_sys=True)
