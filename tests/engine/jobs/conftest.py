import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cache.processes import is_alive
from engine.jobs import JobQueue
from engine.jobs.record import JobRecord

ENTRYPOINT = "tests.engine.jobs.operations:run"
ROOT = Path(__file__).parents[3]


def eventually(holds: Callable[[], object], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def importable() -> str:
    """Return the path on which jobs find tests.engine.jobs.operations."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PYTHONPATH", importable())
    home = tmp_path / "home"
    yield home
    queue = JobQueue(home, ENTRYPOINT)
    for job in queue.jobs():
        if not job.status.is_final:
            queue.wait(queue.cancel(job.id, grace_s=0).id, poll_s=0.04)
    eventually(lambda: not is_alive(JobRecord(home).worker()))


@pytest.fixture
def queue(home: Path) -> JobQueue:
    return JobQueue(home, ENTRYPOINT)


@pytest.fixture
def record(queue: JobQueue, home: Path) -> JobRecord:
    return JobRecord(home)


class Held:
    """A job that runs until it is let go."""

    def __init__(self, queue: JobQueue, folder: Path, operation: str = "hold", **arguments: object) -> None:
        folder.mkdir()
        self.folder = folder
        self.id = queue.submit(operation, {"folder": str(folder), **arguments}, title="held").id
        eventually((folder / "started").exists)
        eventually(self.runs)

    def runs(self) -> list[int]:
        return [int(line) for line in (self.folder / "started").read_text().split()]

    @property
    def pid(self) -> int:
        return self.runs()[-1]

    def let_go(self) -> None:
        (self.folder / "gate").touch()


@pytest.fixture
def hold(queue: JobQueue, tmp_path: Path) -> Callable[..., Held]:
    return lambda name="held", operation="hold", **arguments: Held(queue, tmp_path / name, operation, **arguments)
