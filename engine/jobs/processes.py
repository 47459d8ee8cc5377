"""Processes on this machine: starting them in a group of their own, and ending them with all they started.

POSIX only: a job is the leader of its own session and process group, so that everything it starts can be
ended with it.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from cache.processes import ProcessId, identify, is_alive, is_of_this_boot, is_same
from engine.jobs.home import open_privately


def family(leader: ProcessId) -> set[psutil.Process]:
    """Find what lives of a job: its process, its process group, and descendants that left the group.

    The group may outlive its leader, and no other process gets its id meanwhile. Once another process has it, or the
    machine was started anew, the group with this id is not ours.
    """
    members: set[psutil.Process] = set()
    if not is_of_this_boot(leader):
        return members
    with contextlib.suppress(psutil.NoSuchProcess):
        if not is_same(leader):
            return members
        found = psutil.Process(leader.pid)
        members.update({found, *found.children(recursive=True)})
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == leader.pid:
                members.add(process)
    return living(members)


def living(processes: set[psutil.Process]) -> set[psutil.Process]:
    """Keep the processes that still run; zombies do not."""
    alive = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                alive.add(process)
    return alive


def send_signal(processes: set[psutil.Process], number: int) -> None:
    """Send a signal to each process that still runs."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


class LocalProcess:
    """A job's process: a child of this worker, or one adopted from a worker that was killed."""

    def __init__(self, identity: ProcessId, child: subprocess.Popen[bytes] | None = None) -> None:
        self.id = identity
        self._child = child

    @classmethod
    def start(cls, command: Sequence[str], log: Path) -> "LocalProcess":
        """Start a command in its own session, its output appended to ``log``."""
        child = _started(command, log)
        return cls(identify(child.pid), child)

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs, and always for an adopted process."""
        return None if self._child is None else self._child.poll()

    def has_ended(self) -> bool:
        """Whether the process itself, not all of its family, is gone."""
        return self.exit_code is not None if self._child is not None else not is_alive(self.id)

    def wait(self, timeout_s: float) -> None:
        """Return when the process has ended or the time has passed."""
        if self._child is None or self.has_ended():
            time.sleep(timeout_s)
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout_s)


def start_detached(command: Sequence[str], log: Path) -> None:
    """Start a command that outlives this process, its output appended to ``log``, which gets the time of the start."""
    child = _started(command, log)
    os.utime(log)
    # Someone has to collect its exit code, or it stays a zombie as long as we live.
    threading.Thread(target=child.wait, name="reap", daemon=True).start()


def _started(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with open_privately(log, "ab") as output:
        # Not in the folder of whoever happened to start it, where a hub id may be the name of a folder.
        return subprocess.Popen(
            command,
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
