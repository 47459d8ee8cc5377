"""Anything may be killed at any moment."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from cache.processes import ProcessId, identify, is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.processes import family, start_detached
from engine.jobs.record import JobRecord
from tests.support.clock import in_a_process_whose_clock_was_set

from .conftest import ENTRYPOINT, ROOT, eventually, kill

LONG_AGO = 1000.0


def kill_worker(record: JobRecord) -> None:
    worker = record.worker()
    assert worker is not None
    kill(worker.pid)
    eventually(lambda: not is_alive(worker))


def test_a_killed_job_fails_with_a_sentence_and_resumes_from_its_checkpoint(queue: JobQueue, tmp_path: Path) -> None:
    submitted = queue.submit("stages", {"folder": str(tmp_path)}, title="Stages")
    killed = queue.wait(submitted.id, poll_s=0.04)
    assert killed.status is JobStatus.FAILED
    assert killed.error is not None
    assert killed.error.startswith("The job's process was killed (SIGKILL), most often because the machine ran out")
    queue.resume(killed.id)
    done = queue.wait(killed.id, poll_s=0.04)
    assert (done.status, done.attempts, done.error) == (JobStatus.DONE, 2, None)
    assert done.result == {"resumed": True, "value": 42}
    assert [progress.stage for progress in queue.progress_history(done.id)] == ["second"]
    assert "attempt 1" in queue.log(done.id)
    assert "attempt 2" in queue.log(done.id)


def test_a_job_outlives_its_worker_and_records_its_own_end(queue: JobQueue, hold, record: JobRecord) -> None:
    held = hold()
    kill_worker(record)
    assert queue.get(held.id).status is JobStatus.RUNNING
    held.let_go()
    assert queue.wait(held.id, poll_s=0.04).result == "held"
    assert record.worker() is not None
    assert not is_alive(record.worker()), "no second worker was needed"


def test_the_next_worker_adopts_a_running_job_instead_of_starting_it_twice(
    queue: JobQueue, hold, record: JobRecord, tmp_path: Path
) -> None:
    held = hold()
    kill_worker(record)
    notes = tmp_path / "notes"
    after = queue.submit("note", {"notes": str(notes), "word": "after"}, title="After")
    eventually(lambda: is_alive(record.worker()))
    watched_until = time.monotonic() + 0.7
    while time.monotonic() < watched_until:
        statuses = (queue.get(held.id).status, queue.get(after.id).status)
        assert statuses == (JobStatus.RUNNING, JobStatus.QUEUED), "one job at a time"
    assert "attempt" not in queue.log(after.id)
    assert psutil.Process(record.worker().pid).children() == [], "it only waits"
    held.let_go()
    assert queue.wait(after.id, poll_s=0.04).status is JobStatus.DONE
    done = queue.get(held.id)
    assert (done.status, done.attempts) == (JobStatus.DONE, 1)
    assert len(held.runs()) == 1


def test_an_adopted_job_that_is_killed_is_interrupted(queue: JobQueue, hold, record: JobRecord) -> None:
    held = hold()
    kill_worker(record)
    queue.submit("echo", {}, title="Makes a worker start")
    eventually(lambda: is_alive(record.worker()))
    kill(held.pid)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.INTERRUPTED


def test_worker_and_job_killed_together_leave_an_interrupted_job_that_resumes(
    queue: JobQueue, hold, record: JobRecord
) -> None:
    held = hold()
    waiting = queue.submit("echo", {"word": "waiting"}, title="Waiting")
    kill_worker(record)
    kill(held.pid)
    job = queue.wait(held.id, poll_s=0.04)
    assert job.status is JobStatus.INTERRUPTED
    assert job.error is not None
    assert job.error.startswith("The job's process is gone without a result")
    held.let_go()
    queue.resume(held.id)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.DONE
    assert queue.wait(waiting.id, poll_s=0.04).status is JobStatus.DONE


def test_what_is_queued_goes_on_when_somebody_looks(queue: JobQueue, hold, record: JobRecord, home: Path) -> None:
    held = hold()
    waiting = [queue.submit("echo", {"word": word}, title=word).id for word in "ab"]
    kill_worker(record)
    held.let_go()
    eventually(lambda: {job.status for job in JobQueue(home, ENTRYPOINT).jobs()} == {JobStatus.DONE})
    assert [record.get(job_id).attempts for job_id in (held.id, *waiting)] == [1, 1, 1]


def test_looking_often_starts_one_worker(queue: JobQueue, record: JobRecord, home: Path, monkeypatch) -> None:
    started: list[float] = []

    def start(command: list[str], log: Path) -> None:
        started.append(time.monotonic())
        start_detached([sys.executable, "-c", ""], log)  # a worker that is slow to register

    monkeypatch.setattr("engine.jobs.queue.start_detached", start)
    record.enqueue("abc", "echo", {}, "Echo", {}, again=False)
    begun = time.monotonic()
    while time.monotonic() < begun + 0.5:
        JobQueue(home, ENTRYPOINT).jobs()
    assert len(started) == 1
    record.cancel("abc", kill_at=0.0)


def test_the_same_command_goes_on_after_a_power_loss(queue: JobQueue, hold, record: JobRecord, home: Path) -> None:
    held = hold()
    kill_worker(record)
    kill(held.pid)
    eventually(lambda: not is_alive(record.get(held.id).process))
    held.let_go()
    again = JobQueue(home, ENTRYPOINT).submit("hold", {"folder": str(held.folder)}, title="held", resubmit=True)
    assert again.id == held.id
    done = queue.wait(again.id, poll_s=0.04)
    assert (done.status, done.attempts) == (JobStatus.DONE, 2)


def test_a_process_killed_before_it_began_says_so_without_an_empty_log(
    queue: JobQueue, record: JobRecord, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The job's process finds a sitecustomize that ends it before anything of ours was imported.
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\nif 'engine.jobs.run' in sys.orig_argv: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    job = queue.wait(queue.submit("echo", {}, title="Echo").id, poll_s=0.04)
    assert queue.log(job.id) == ""
    assert job.error == (
        "The job's process was ended by SIGKILL before it began; it printed nothing; resume the job to try again."
    )
    eventually(lambda: not is_alive(record.worker()))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    queue.resume(job.id)
    assert queue.wait(job.id, poll_s=0.04).status is JobStatus.DONE


def test_recovering_goes_on_with_what_was_queued(queue: JobQueue, hold, record: JobRecord, home: Path) -> None:
    held = hold()
    waiting = queue.submit("echo", {"word": "waiting"}, title="Waiting")
    kill_worker(record)
    kill(held.pid)
    eventually(lambda: not is_alive(queue.get(held.id).process))
    JobQueue(home, ENTRYPOINT).recover()
    eventually(lambda: record.get(waiting.id).status is JobStatus.DONE)
    assert record.get(held.id).status is JobStatus.INTERRUPTED


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only the wall clock is known")
@pytest.mark.parametrize("seconds", [-3600.0, 5.0])
def test_a_running_job_outlives_a_clock_that_is_set(queue: JobQueue, hold, home: Path, seconds: float) -> None:
    held = hold()
    code = (
        "from pathlib import Path; from engine.jobs import JobQueue\n"
        f"queue = JobQueue(Path({str(home)!r}), {ENTRYPOINT!r})\n"
        f"print(queue.get({held.id!r}).status, queue.resume({held.id!r}).status)"
    )
    assert in_a_process_whose_clock_was_set(code, seconds).split() == ["running", "running"]
    held.let_go()
    done = queue.wait(held.id, poll_s=0.04)
    assert (done.status, done.attempts, len(held.runs())) == (JobStatus.DONE, 1, 1)


def test_a_record_of_an_older_version_that_has_wall_clock_times_reads(queue: JobQueue, hold, home: Path) -> None:
    held = hold()
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        for table, column in (("jobs", "pid_started"), ("worker", "started")):
            (pid,) = db.execute(f"SELECT pid FROM {table}").fetchone()
            db.execute(f"UPDATE {table} SET {column} = ?", (psutil.Process(pid).create_time(),))
    assert queue.get(held.id).status is JobStatus.RUNNING
    assert queue.resume(held.id).attempts == 1
    held.let_go()
    assert queue.wait(held.id, poll_s=0.04).result == "held"


def enqueued(record: JobRecord) -> str:
    record.enqueue("abc", "echo", {}, "Echo", {}, again=False)
    return "abc"


@pytest.fixture
def reused() -> Iterator[ProcessId]:
    """A job's process of long ago whose pid belongs to a bystander now."""
    command = [sys.executable, "-c", "input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as bystander:
        yield ProcessId(bystander.pid, LONG_AGO)
        assert bystander.poll() is None, "a bystander was killed"
        bystander.kill()


def test_a_pid_that_was_given_to_another_process_is_not_the_job(
    queue: JobQueue, record: JobRecord, reused: ProcessId
) -> None:
    job_id = enqueued(record)
    record.claim(job_id, reused)
    assert queue.get(job_id).status is JobStatus.INTERRUPTED


def test_cancelling_never_ends_a_process_that_got_the_pid(
    queue: JobQueue, record: JobRecord, reused: ProcessId
) -> None:
    job_id = enqueued(record)
    record.claim(job_id, reused)
    record.cancel(job_id, kill_at=0.0)
    assert family(reused) == set()
    assert queue.get(job_id).status is JobStatus.CANCELLED


def test_a_result_written_just_before_death_counts(queue: JobQueue, record: JobRecord, reused: ProcessId) -> None:
    job_id = enqueued(record)
    record.claim(job_id, reused)
    record.folder(job_id).write_result({"x": 1})
    job = queue.get(job_id)
    assert (job.status, job.result, job.error) == (JobStatus.DONE, {"x": 1}, None)


def test_the_result_of_an_earlier_attempt_does_not_count(queue: JobQueue, record: JobRecord, reused: ProcessId) -> None:
    job_id = enqueued(record)
    record.folder(job_id).write_result("old")
    record.claim(job_id, reused)
    job = queue.get(job_id)
    assert (job.status, job.result) == (JobStatus.INTERRUPTED, None)


def test_submitting_survives_the_death_of_the_submitter(queue: JobQueue, home: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path; from engine.jobs import JobQueue\n"
        f"queue = JobQueue(Path(sys.argv[1]), {ENTRYPOINT!r})\n"
        "queue.submit('hold', {'folder': sys.argv[2]}, title='Orphan')\n"
        "os.killpg(0, signal.SIGKILL)"
    )
    submitter = subprocess.run(
        [sys.executable, "-c", code, str(home), str(tmp_path)], start_new_session=True, check=False
    )
    assert submitter.returncode == -9
    (job,) = queue.jobs()
    eventually((tmp_path / "started").exists)
    (tmp_path / "gate").touch()
    eventually(lambda: queue.get(job.id).status is JobStatus.DONE)


def test_the_submitter_is_left_without_zombies(queue: JobQueue) -> None:
    before = set(psutil.Process().children())
    queue.wait(queue.submit("echo", {"word": "z"}, title="Echo").id, poll_s=0.04)
    eventually(lambda: set(psutil.Process().children()) <= before)


def test_a_zombie_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        process = identify(child.pid)
        eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE)
        assert not is_alive(process)
        assert family(process) == set()
