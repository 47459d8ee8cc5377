import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from cache.processes import ProcessId, is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord

from .conftest import ENTRYPOINT, eventually

SUBMIT_ALL = f"""
import sys, time
from pathlib import Path
from engine.jobs import JobQueue
home, notes, gate, ready = map(Path, sys.argv[1:])
ready.touch()
while not gate.exists():
    time.sleep(0.001)
queue = JobQueue(home, {ENTRYPOINT!r})
for word in "ab":
    queue.submit("note", {{"notes": str(notes), "word": word}}, title=word)
"""


def test_concurrent_submits_of_equal_jobs_run_each_once(home: Path, tmp_path: Path) -> None:
    notes, gate = tmp_path / "notes", tmp_path / "gate"
    command = [sys.executable, "-c", SUBMIT_ALL, str(home), str(notes), str(gate)]
    ready = [tmp_path / f"ready-{i}" for i in range(6)]
    submitters = [subprocess.Popen([*command, str(path)]) for path in ready]
    eventually(lambda: all(path.exists() for path in ready))
    gate.touch()
    assert [submitter.wait() for submitter in submitters] == [0] * 6
    queue = JobQueue(home, ENTRYPOINT)
    jobs = queue.jobs()
    assert len(jobs) == 2
    for job in jobs:
        assert queue.wait(job.id, poll_s=0.04).status is JobStatus.DONE
    assert sorted(notes.read_text().split()) == list("ab")


CREATE_MANY = """
import sys, time
from pathlib import Path
from engine.jobs.record import JobRecord
homes, gate, ready = map(Path, sys.argv[1:])
ready.touch()
while not gate.exists():
    pass
for i in range(20):
    while time.time() < gate.stat().st_mtime + 0.1 + i * 0.03:
        pass
    JobRecord(homes / str(i)).jobs()
"""


def test_several_processes_may_create_a_record_at_the_same_moment(tmp_path: Path) -> None:
    gate, ready = tmp_path / "gate", [tmp_path / f"ready-{i}" for i in range(3)]
    command = [sys.executable, "-c", CREATE_MANY, str(tmp_path / "homes"), str(gate)]
    creators = [subprocess.Popen([*command, str(path)]) for path in ready]
    eventually(lambda: all(path.exists() for path in ready))
    gate.touch()
    assert [creator.wait() for creator in creators] == [0] * 3


def test_of_workers_started_at_once_one_works_and_the_others_leave(
    queue: JobQueue, hold, record: JobRecord, home: Path
) -> None:
    held = hold()
    first = record.worker()
    command = [sys.executable, "-m", "engine.jobs.worker", str(home), ENTRYPOINT]
    others = [subprocess.Popen(command) for _ in range(2)]
    assert [other.wait(timeout=120) for other in others] == [0, 0]
    assert record.worker() == first
    assert is_alive(first)
    held.let_go()
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.DONE
    assert len(held.runs()) == 1


def test_two_workers_at_the_same_moment_run_a_queue_once(record: JobRecord, home: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    for word in "abc":
        record.enqueue(word, "note", {"notes": str(notes), "word": word}, word, {}, again=False)
    command = [sys.executable, "-m", "engine.jobs.worker", str(home), ENTRYPOINT]
    workers = [subprocess.Popen(command) for _ in range(2)]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]
    assert notes.read_text().split() == ["a", "b", "c"]
    assert record.worker() is None


def test_two_processes_cannot_both_run_a_job(record: JobRecord, home: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    record.enqueue("abc", "note", {"notes": str(notes), "word": "w"}, "Note", {}, again=False)
    command = [sys.executable, "-m", "engine.jobs.run", str(home), "abc", ENTRYPOINT]
    processes = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert sorted(process.wait(timeout=120) for process in processes) == [0, 75, 75]
    assert notes.read_text().split() == ["w"]


def test_a_job_that_arrives_as_the_worker_unregisters_is_run(record: JobRecord, home: Path, tmp_path: Path) -> None:
    # The worst moment, made certain: the job is committed by a submitter that still saw a registered worker.
    notes = tmp_path / "notes"
    record.enqueue("first", "note", {"notes": str(notes), "word": "first"}, "First", {}, again=False)
    record.enqueue("late", "note", {"notes": str(notes), "word": "late"}, "Late", {}, again=False)
    record.cancel("late", kill_at=0.0)
    with closing(sqlite3.connect(home / "jobs.sqlite3")) as db, db:
        db.execute(
            "CREATE TRIGGER late AFTER DELETE ON worker "
            "BEGIN UPDATE jobs SET status = 'queued' WHERE id = 'late' AND attempts = 0; END"
        )
    subprocess.run([sys.executable, "-m", "engine.jobs.worker", str(home), ENTRYPOINT], check=True, timeout=120)
    assert notes.read_text().split() == ["first", "late"]
    assert record.get("late").status is JobStatus.DONE


def test_jobs_submitted_around_the_exit_of_the_worker_are_run(queue: JobQueue, record: JobRecord) -> None:
    # Jobs that are refused for want of memory: the worker is done with them at once, without another process.
    for i in range(30):
        job_id = queue.submit("echo", {"word": i}, title=str(i), estimate={"memory_bytes": 2**60}).id
        # Not queue.wait: it would rescue a job without a worker.
        eventually(lambda job_id=job_id: record.get(job_id).status is JobStatus.FAILED)
        if i % 3 == 1:
            eventually(lambda: record.worker() is None)
        elif i % 3 == 2:
            exit_in = time.monotonic() + i * 0.0002
            while time.monotonic() < exit_in:
                pass
    assert len(queue.jobs()) == 30


def test_reading_while_a_job_reports(queue: JobQueue) -> None:
    job_id = queue.submit("report_often", {"n": 20_000}, title="Often").id
    fractions = [0.0]
    while True:
        job = queue.get(job_id)
        if job.progress is not None:
            fractions.append(job.progress.fraction or 0.0)
        if job.status.is_final:
            break
        assert [listed.id for listed in queue.jobs()] == [job_id]
    assert job.status is JobStatus.DONE
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(queue.progress_history(job_id)) < 200, "rate limited"


def test_the_first_recorded_end_of_an_attempt_stands(record: JobRecord) -> None:
    record.enqueue("abc", "echo", {}, "Echo", {}, again=False)
    attempt = record.claim("abc", ProcessId(1, 0.0))
    assert record.claim("abc", ProcessId(2, 0.0)) is None
    record.finish("abc", attempt, JobStatus.FAILED, "First.")
    record.close("abc", attempt, JobStatus.INTERRUPTED, "Second.")
    assert (record.get("abc").status, record.get("abc").error) == (JobStatus.FAILED, "First.")
    record.enqueue("abc", "echo", {}, "Echo", {}, again=False)
    again = record.claim("abc", ProcessId(3, 0.0))
    record.close("abc", attempt, JobStatus.INTERRUPTED, "Late news of the first attempt.")
    record.finish("abc", attempt, JobStatus.DONE)
    assert (again, record.get("abc").status) == (attempt + 1, JobStatus.RUNNING)
    record.cancel("abc", kill_at=5.0)
    record.finish("abc", again, JobStatus.FAILED, "Ended by the signal.")
    assert record.get("abc").status is JobStatus.CANCELLING
    record.finish("abc", again, JobStatus.DONE)
    assert record.get("abc").status is JobStatus.DONE, "a result is a result, even when it was not wanted any more"
