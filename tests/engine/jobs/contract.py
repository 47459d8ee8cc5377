"""What every engine of jobs promises; a class of tests for each engine inherits these."""

import socket
from dataclasses import replace
from pathlib import Path

import psutil

from cache.processes import is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord

from .conftest import Held, eventually, kill


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


FAILURES = {
    "engine": "The model 'x' was not found: give a folder.",
    "bug": "Unexpected TypeError: unsupported operand type(s)",
    "exit": "The job's process ended with exit code 3 and without a result; the log has the details.",
    "crash": "The job's process crashed (SIGSEGV); the log has the details.",
    "nan": "Unexpected ValueError: Out of range float values are not JSON compliant",
}


class EngineContract:
    """The fixture ``queue`` runs one job at a time: the cluster, or this machine, has one of what they need."""

    def test_a_job_ends_with_its_result_and_what_follows_it_runs_there_too(self, queue: JobQueue) -> None:
        seen = []
        submitted = queue.submit("echo", {"word": "hello", "then": "bye"}, title="Echo")
        job = queue.wait(submitted.id, poll_s=0.04, on_progress=seen.append)
        assert (job.status, job.error, job.attempts) == (JobStatus.DONE, None, 1)
        assert job.result == {"word": "hello", "then": "bye"}
        assert job.progress == seen[-1]
        assert (job.progress.stage, job.progress.fraction) == ("echo", 1.0)
        assert "echo says hello" in queue.log(job.id)
        assert job.created <= job.started <= job.finished
        (after,) = (other for other in queue.jobs() if other.id != job.id)
        done = queue.wait(after.id, poll_s=0.04)
        assert (done.title, done.result, done.engine) == ("What follows", {"word": "bye"}, queue.engine)

    def test_every_failure_ends_with_a_sentence(self, queue: JobQueue) -> None:
        engine = replace(queue.engine, resources={})  # several at once, where the engine can
        ids = {how: queue.submit("fail", {"how": how}, title=how, engine=engine).id for how in FAILURES}
        for how, job_id in ids.items():
            job = queue.wait(job_id, poll_s=0.04)
            assert job.status is JobStatus.FAILED, how
            assert job.error.startswith(FAILURES[how]), job.error
            assert "about to fail" in queue.log(job_id)
            assert job.result is None

    def test_a_killed_job_resumes_after_its_last_stage(self, queue: JobQueue, tmp_path: Path) -> None:
        submitted = queue.submit("stages", {"folder": str(tmp_path)}, title="Stages")
        killed = queue.wait(submitted.id, poll_s=0.04)
        assert killed.status is JobStatus.FAILED
        assert killed.error.startswith("The job's process was killed (SIGKILL)")
        queue.resume(killed.id)
        done = queue.wait(killed.id, poll_s=0.04)
        assert (done.status, done.attempts, done.error, done.engine) == (JobStatus.DONE, 2, None, queue.engine)
        assert done.result == {"resumed": True, "value": 42}

    def test_a_running_and_a_waiting_job_are_cancelled_and_the_next_one_has_its_turn(
        self, queue: JobQueue, hold, tmp_path: Path
    ) -> None:
        held, notes = hold(), tmp_path / "notes"
        waiting = queue.submit("note", {"notes": str(notes), "word": "no"}, title="Waiting")
        last = queue.submit("note", {"notes": str(notes), "word": "yes"}, title="Last")
        self.waits(queue, waiting.id)
        queue.cancel(waiting.id)
        assert queue.wait(waiting.id, poll_s=0.04).status is JobStatus.CANCELLED
        assert queue.cancel(held.id).status in (JobStatus.CANCELLING, JobStatus.CANCELLED)
        ended = queue.wait(held.id, poll_s=0.04)
        assert (ended.status, ended.error) == (JobStatus.CANCELLED, None)
        assert is_gone(held.pid)
        assert queue.wait(last.id, poll_s=0.04).status is JobStatus.DONE
        assert notes.read_text().split() == ["yes"]

    def test_a_stubborn_family_is_killed(self, queue: JobQueue, hold) -> None:
        held = hold(operation="family", leaves_group=True, raises=True)
        grandchild = int((held.folder / "grandchild").read_text())
        queue.cancel(held.id, grace_s=0.3)
        assert queue.wait(held.id, poll_s=0.04).status is JobStatus.CANCELLED
        assert is_gone(held.pid)
        assert is_gone(grandchild)

    def test_the_next_worker_adopts_what_runs_and_what_waits(self, queue: JobQueue, hold, record: JobRecord) -> None:
        held = hold()
        waiting = queue.submit("echo", {"word": "waiting"}, title="Waiting")
        self.waits(queue, waiting.id)
        worker = record.worker()
        kill(worker.pid)
        eventually(lambda: not is_alive(worker))
        assert queue.get(held.id).status is JobStatus.RUNNING
        held.let_go()
        for job_id, result in ((held.id, "held"), (waiting.id, {"word": "waiting"})):
            job = queue.wait(job_id, poll_s=0.04)
            assert (job.status, job.attempts, job.result) == (JobStatus.DONE, 1, result)
        assert len(held.runs()) == 1

    def waits(self, queue: JobQueue, job_id: str) -> None:
        """Return when a job waits for another one."""
        eventually(lambda: queue.get(job_id).status is JobStatus.QUEUED)


class RemoteEngineContract(EngineContract):
    """What more is promised of engines whose jobs run on other machines."""

    def test_where_a_job_is_can_be_seen(self, queue: JobQueue, hold) -> None:
        held: Held = hold()
        assert queue.get(held.id).place.host == socket.gethostname()
        waiting = queue.submit("echo", {"word": "waiting"}, title="Waiting")
        self.waits(queue, waiting.id)
        assert str(queue.get(waiting.id).place).startswith("waiting at ")
        held.let_go()
        assert str(queue.wait(waiting.id, poll_s=0.04).place).startswith(f"on {socket.gethostname()}, ")

    def waits(self, queue: JobQueue, job_id: str) -> None:
        eventually(lambda: queue.get(job_id).status is JobStatus.RUNNING)
        assert queue.get(job_id).place.host is None
