"""An analysis in shards, whose parts are killed one after another while it goes on."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import psutil

from cache.processes import identify, is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.engines import choose
from engine.jobs.processes import family, send_signal
from engine.jobs.record import JobRecord
from engine.settings import job_settings
from tests.campaign.forking import Child, forked
from tests.campaign.ground import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from cache.processes import ProcessId
    from engine.jobs import Job
    from tests.campaign.ground import Ground

MOST_TURNS = 6
LIMIT_S = 240.0
MOMENTS = ("begun", "reported")
WORDS = (
    *("analyse", "model", "--text", "corpus.txt", "--n-sequences", "65", "--length", "16"),
    *("--compute-dtype", "float32", "--device", "cpu"),
)
SHARED = (*WORDS, "--shards", "2")


class Sharded:
    """One home in which it is done, by the engine that the environment names.

    Args:
        place: of it.
        chance: chooses what is killed, and when.
        begin_s: what a job's process takes until it reports something.
        work_s: what it takes from then on.
    """

    def __init__(self, place: Ground, chance: Random, begin_s: float, work_s: float) -> None:
        self._place = place
        self._chance = chance
        self._spans_s = dict(zip(MOMENTS, (begin_s, work_s), strict=True))
        self._record = JobRecord(place.home)
        self._command = self._typed()

    def goes_on(self) -> bool:
        """Whether it is not done yet; what has ended is resumed."""
        if self._command.has_ended():
            if self._command.code == 0:
                return False
            self._command = self._typed()
        for job in self._unfinished():
            if job.status.is_final:
                self._queue.resume(job.id, self._queue.engine)
        return True

    def await_moment(self) -> None:
        """Wait for any moment of a job, half of the times after it has reported something."""
        moment = self._chance.choice(MOMENTS)

        def has_come() -> bool:
            if self._command.has_ended():
                return True
            running = (job for job in self._queue.jobs() if job.status is JobStatus.RUNNING)
            return any(moment == "begun" or job.progress is not None for job in running)

        _await(has_come, f"no job has {moment}")
        time.sleep(self._chance.uniform(0, 1.2 * self._spans_s[moment]))

    def kill_command(self) -> int:
        """Kill the command line that follows it; 1 if it still ran."""
        if self._command.has_ended():
            return 0
        self._command.kill()
        return 1

    def kill_worker(self) -> int:
        """Kill the worker; 1 if there is one."""
        return int(_killed(self._record.worker()))

    def kill_job(self) -> int:
        """Kill a job's process; 1 if there is one."""
        leaders = [job.process for job in self._record.unfinished() if job.process is not None]
        return int(any(_killed(leader) for leader in (*leaders, *self._remote())))

    def finish(self) -> list[str]:
        """Resume until it is done; return what is lost."""
        for _ in range(MOST_TURNS):
            self.goes_on()
            _await(self._command.has_ended, "the command does not end")
            for job in self._unfinished():
                self._queue.resume(job.id, self._queue.engine)
            _await(lambda: all(job.status.is_final for job in self._queue.jobs()), "a job does not end")
            if self._command.code == 0 and not self._unfinished():
                return []
        said = (self._place.folder / "log").read_text(errors="replace")[-1500:]
        return [f"lost: {[f'{job.title} is {job.status}: {job.error}' for job in self._unfinished()]} {said}"]

    def end(self) -> None:
        """Kill whatever is left."""
        if not self._command.has_ended():
            self._command.kill()
        leaders = [self._record.worker(), *(job.process for job in self._record.unfinished()), *self._remote()]
        for leader in filter(None, leaders):
            send_signal(family(leader), signal.SIGKILL)

    @property
    def _queue(self) -> JobQueue:
        return JobQueue(self._place.home, engine=choose(job_settings()))

    def _unfinished(self) -> list[Job]:
        return [job for job in self._queue.jobs() if job.status is not JobStatus.DONE]

    def _typed(self) -> Child:
        return forked(partial(typed, self._place.folder, SHARED), self._place.folder / "log")

    def _remote(self) -> Iterator[ProcessId]:
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                words = process.cmdline()
                if "engine.jobs.remote" in words and any(word.startswith(str(self._place.home)) for word in words):
                    yield identify(process.pid)


def _killed(process: ProcessId | None) -> bool:
    if process is None or not is_alive(process):
        return False
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGKILL)
    return True


def _await(holds: Callable[[], bool], otherwise: str) -> None:
    until = time.monotonic() + LIMIT_S
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(otherwise)
        time.sleep(0.02)
