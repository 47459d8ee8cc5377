"""A home is its owner's: its specifications may hold passwords, its logs what was asked."""

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from engine import settings
from engine.jobs import JobQueue, JobStatus
from engine.jobs.progress import ProgressReporter
from engine.jobs.record import JobRecord

from .conftest import ENTRYPOINT


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """The paths that this process opens."""
    paths: list[str] = []
    is_listening = True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if is_listening and event == "open":
            paths.append(str(arguments[0]))

    sys.addaudithook(listen)
    yield paths
    is_listening = False  # a hook cannot be taken away


def test_a_home_and_its_files_are_private(queue: JobQueue, home: Path) -> None:
    job = queue.wait(queue.submit("echo", {"word": "secret"}, title="Echo").id, poll_s=0.04)
    assert mode(home) == 0o700
    folder = home / "jobs" / job.id
    private = [*home.glob("jobs.sqlite3*"), home / "worker.log", *(folder / n for n in ("spec.json", "log.txt"))]
    assert {path.name: mode(path) for path in private} == {path.name: 0o600 for path in private}


def test_an_open_home_is_closed_when_it_is_opened(queue: JobQueue, home: Path) -> None:
    job = queue.wait(queue.submit("echo", {"word": "secret"}, title="Echo").id, poll_s=0.04)
    spec = home / "jobs" / job.id / "spec.json"
    for path, open_to_all in (
        (home, 0o755),
        (spec, 0o644),
        (home / "jobs.sqlite3", 0o644),
        (home / "worker.log", 0o644),
    ):
        path.chmod(open_to_all)
    again = JobQueue(home, ENTRYPOINT)
    assert mode(home) == 0o700
    assert {mode(path) for path in (spec, home / "jobs.sqlite3", home / "worker.log")} == {0o600}
    assert again.get(job.id).status is JobStatus.DONE


def test_a_job_stores_in_the_home_that_was_named_from_where_it_was_asked_for(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKSCOPE_HOME", home.name)
    queue = JobQueue(settings.home().root, ENTRYPOINT)
    assert queue.wait(queue.submit("stores", {}, title="Stores").id, poll_s=0.04).result == str(home)


def test_a_thousand_finished_jobs_are_read_once(home: Path, record: JobRecord, opened: list[str]) -> None:
    record.enqueue("0", "echo", {"word": "w"}, "Echo", {}, again=False)
    with ProgressReporter(record.folder("0").progress) as report:
        for step in range(500):
            report(f"stage {step}", step / 500, "m" * 40)
    record.folder("0").write_result({"word": "w"})
    columns = "operation, arguments, title, estimate, created"
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        for index in range(1, 1000):
            shutil.copytree(home / "jobs" / "0", home / "jobs" / str(index))
            values = f"SELECT ?, ?, 'done', {columns} FROM jobs WHERE id = '0'"
            db.execute(f"INSERT INTO jobs (id, turn, status, {columns}) {values}", (str(index), index + 1))
        db.execute("UPDATE jobs SET status = 'done', started = 1.0, finished = 2.0, attempts = 1")
    assert len(JobQueue(home, ENTRYPOINT).jobs()) == 1000
    assert len([path for path in opened if path.startswith(f"{home}/jobs/")]) >= 2000
    opened.clear()
    jobs = JobQueue(home, ENTRYPOINT).jobs()
    assert [path for path in opened if path.startswith(f"{home}/jobs/")] == [], "files of jobs that ended are read once"
    assert jobs[0].result == {"word": "w"}
    assert jobs[0].progress.stage == "stage 499"
    record.folder(jobs[0].id).write_result({"word": "new"})
    assert JobQueue(home, ENTRYPOINT).jobs()[0].result == {"word": "new"}
