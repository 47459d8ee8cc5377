"""One damaged file or row hides nothing else, and what is in the way of the home is named."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cache.processes import is_alive
from engine.jobs import JobError, JobQueue, JobStatus
from engine.jobs.choice import LOCAL
from engine.jobs.record import JobRecord
from tests.support.tiers import sweep_unless

from .conftest import ENTRYPOINT, eventually, importable


@pytest.fixture(scope="module")
def home_of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A home in which two jobs are done, and their ids in the order they were submitted."""
    home = tmp_path_factory.mktemp("two") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", importable())
        queue = JobQueue(home, ENTRYPOINT)
        ids = [queue.submit("echo", {"word": word}, title=word).id for word in "ab"]
        for job_id in ids:
            queue.wait(job_id, poll_s=0.04)
        eventually(lambda: not is_alive(JobRecord(home).worker()))
    return home, ids


@pytest.fixture
def two(home: Path, home_of_two: tuple[Path, list[str]]) -> tuple[str, str]:
    """Two jobs that are done, the last submitted first."""
    source, ids = home_of_two
    shutil.rmtree(home, ignore_errors=True)  # a queue may have begun one
    shutil.copytree(source, home)
    return ids[1], ids[0]


@pytest.mark.parametrize("content", sweep_unless([b"", b"{", b"\xff\xfe", b"[" * 100_000], {b"\xff\xfe"}))
def test_a_damaged_result_is_that_of_its_job_only_and_the_job_can_run_again(
    queue: JobQueue, home: Path, two: tuple[str, str], content: bytes
) -> None:
    damaged, whole = two
    (home / "jobs" / damaged / "result.json").write_bytes(content)
    first, second = queue.jobs()
    assert (first.id, first.status, second.id, second.status) == (damaged, JobStatus.FAILED, whole, JobStatus.DONE)
    assert first.error is not None
    assert first.error.startswith("The result of this job is damaged (")
    assert second.result == {"word": "a"}
    queue.resume(damaged)
    assert queue.wait(damaged, poll_s=0.04).result == {"word": "b"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("arguments", "{"), ("arguments", "[]"), ("arguments", None), ("estimate", b"\xff"), ("estimate", "7"),
        ("status", "asleep"), ("created", "yesterday"), ("started", "x"), ("pid", "x"), ("title", b"\xff\xfe"),
        ("attempts", "often"), ("title", 7.5),
    ],
)  # fmt: skip
def test_a_damaged_row_is_that_of_its_job_only(
    queue: JobQueue, home: Path, two: tuple[str, str], column: str, value: object
) -> None:
    damaged, whole = two
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        db.execute("CREATE TABLE loose AS SELECT * FROM jobs")  # the same columns, without their constraints
        db.execute(f"UPDATE loose SET {column} = ? WHERE id = ?", (value, damaged))
        db.execute("DROP TABLE jobs")
        db.execute("ALTER TABLE loose RENAME TO jobs")
    first, second = queue.jobs()
    assert (second.id, second.status, second.result) == (whole, JobStatus.DONE, {"word": "a"})
    if value not in (7.5,):  # a column of text takes numbers as text
        assert (first.id, first.status) == (damaged, JobStatus.FAILED)
        assert f"rankscope jobs forget {damaged}" in str(first.error)
    with_more = queue.get(whole)
    assert with_more.status is JobStatus.DONE
    queue.forget(damaged)
    assert [job.id for job in queue.jobs()] == [whole]


def test_a_queued_row_that_is_damaged_stops_no_worker(queue: JobQueue, record: JobRecord, home: Path, hold) -> None:
    held = hold()
    damaged, whole = (queue.submit("echo", {"word": word}, title=word).id for word in "ab")
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET estimate = 'x' WHERE id = ?", (damaged,))
    held.let_go()
    assert queue.wait(whole, poll_s=0.04).status is JobStatus.DONE
    assert queue.wait(damaged, poll_s=0.04).status is JobStatus.FAILED
    with pytest.raises(JobError, match="The record of this job is damaged"):
        queue.resume(damaged)


def test_a_row_whose_arguments_are_those_of_another_job_is_not_run(
    queue: JobQueue, home: Path, two: tuple[str, str]
) -> None:
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        db.execute("UPDATE jobs SET arguments = ?, status = 'failed' WHERE id = ?", (json.dumps({"word": "z"}), two[0]))
    with pytest.raises(JobError, match=f"The record of job {two[0]} is damaged"):
        queue.resume(two[0])


@pytest.mark.parametrize("name", ["progress.jsonl", "log.txt"])
def test_a_folder_in_place_of_a_file_of_a_job_hides_nothing(
    queue: JobQueue, home: Path, two: tuple[str, str], name: str
) -> None:
    path = home / "jobs" / two[0] / name
    path.unlink()
    path.mkdir()
    assert [job.status for job in queue.jobs()] == [JobStatus.DONE] * 2
    assert queue.log(two[0]) == ("" if name == "log.txt" else "echo says b") or queue.log(two[0]).endswith("says b")


@pytest.mark.parametrize("name", ["worker.log", "worker.lock", "create.lock", "jobs.sqlite3"])
def test_a_folder_in_the_way_is_named_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "home" / name).mkdir(parents=True)
    with pytest.raises(JobError, match=rf"{name} is not a file: move it away"):
        JobQueue(tmp_path / "home", ENTRYPOINT).submit("echo", {}, title="Echo")


def test_a_file_in_the_way_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "jobs").touch()
    with pytest.raises(JobError, match="jobs is not a folder: move it away"):
        JobQueue(tmp_path, ENTRYPOINT)
    with pytest.raises(JobError, match=r"home cannot be made \(Not a directory\): set RANKSCOPE_HOME"):
        JobQueue(tmp_path / "jobs" / "home", ENTRYPOINT)
    with pytest.raises(JobError, match=r"cannot be made \(File name too long\)"):
        JobQueue(tmp_path / ("x" * 300), ENTRYPOINT)


def test_a_job_whose_folder_cannot_be_written_is_not_queued(queue: JobQueue, home: Path, two: tuple[str, str]) -> None:
    from engine.jobs.job import job_fingerprint

    taken = home / "jobs" / job_fingerprint("echo", {"word": "c"})
    taken.touch()
    with pytest.raises(JobError, match="jobs cannot be written"):
        queue.submit("echo", {"word": "c"}, title="c")
    assert [job.id for job in queue.jobs()] == list(two)
    taken.unlink()
    shutil.rmtree(home / "jobs" / two[0])
    assert queue.get(two[0]).result is None


def test_a_record_of_version_1_is_brought_up_to_date(home: Path, queue: JobQueue, two: tuple[str, str]) -> None:
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        for column in ("engine", "engine_settings", "resources", "lead"):
            db.execute(f"ALTER TABLE jobs DROP COLUMN {column}")
        db.execute("PRAGMA user_version = 1")
    upgraded = JobQueue(home, ENTRYPOINT)
    assert [job.id for job in upgraded.jobs()] == list(two)
    assert all(job.engine == LOCAL for job in upgraded.jobs())
    assert upgraded.wait(upgraded.submit("echo", {"word": "c"}, title="c").id, poll_s=0.04).status is JobStatus.DONE
