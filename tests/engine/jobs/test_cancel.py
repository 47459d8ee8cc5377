from pathlib import Path

import psutil
import pytest

from cache.processes import is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord

from .conftest import eventually, kill


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_queued_job_is_cancelled_at_once_and_never_runs(queue: JobQueue, hold, tmp_path: Path) -> None:
    held, notes = hold(), tmp_path / "notes"
    waiting = queue.submit("note", {"notes": str(notes), "word": "no"}, title="Waiting")
    last = queue.submit("note", {"notes": str(notes), "word": "yes"}, title="Last")
    assert queue.cancel(waiting.id).status is JobStatus.CANCELLED
    held.let_go()
    queue.wait(last.id, poll_s=0.04)
    assert notes.read_text().split() == ["yes"]
    assert queue.get(waiting.id).attempts == 0


def test_a_running_job_is_cancelled_and_can_be_resumed(queue: JobQueue, hold) -> None:
    held = hold()
    assert queue.cancel(held.id).status in (JobStatus.CANCELLING, JobStatus.CANCELLED)
    job = queue.wait(held.id, poll_s=0.04)
    assert (job.status, job.error) == (JobStatus.CANCELLED, None)
    assert is_gone(held.pid)
    held.let_go()
    queue.resume(held.id)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.DONE


@pytest.mark.parametrize("leaves_group", [False, True])
@pytest.mark.parametrize("raises", [False, True])
def test_cancelling_ends_grandchildren_that_ignore_sigterm(
    queue: JobQueue, hold, leaves_group: bool, raises: bool
) -> None:
    held = hold(operation="family", leaves_group=leaves_group, raises=raises)
    grandchild = int((held.folder / "grandchild").read_text())
    queue.cancel(held.id, grace_s=0.3)
    eventually(lambda: is_gone(held.pid))
    assert queue.wait(held.id, poll_s=0.005).status is JobStatus.CANCELLED
    assert is_gone(grandchild), "cancelled only when the whole family is gone"


def test_the_grace_period_is_granted_and_can_be_shortened(queue: JobQueue, hold) -> None:
    held = hold(operation="family", leaves_group=False, raises=False)
    grandchild = int((held.folder / "grandchild").read_text())
    queue.cancel(held.id, grace_s=3600)
    eventually(lambda: is_gone(held.pid))
    assert queue.get(held.id).status is JobStatus.CANCELLING
    assert queue.resume(held.id).status is JobStatus.CANCELLING
    assert not is_gone(grandchild)
    queue.cancel(held.id, grace_s=0)
    assert queue.wait(held.id, poll_s=0.005).status is JobStatus.CANCELLED
    assert is_gone(grandchild)


def test_cancelling_works_when_the_worker_was_killed(queue: JobQueue, hold, record: JobRecord) -> None:
    held = hold()
    worker = record.worker()
    kill(worker.pid)
    eventually(lambda: not is_alive(worker))
    queue.cancel(held.id)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.CANCELLED
    assert is_gone(held.pid)


def test_a_worker_killed_in_the_middle_of_a_cancellation_is_replaced(queue: JobQueue, hold, record: JobRecord) -> None:
    held = hold(operation="family", leaves_group=False, raises=False)
    grandchild = int((held.folder / "grandchild").read_text())
    queue.cancel(held.id, grace_s=3600)
    eventually(lambda: is_gone(held.pid))
    worker = record.worker()
    kill(worker.pid)
    eventually(lambda: not is_alive(worker))
    assert queue.get(held.id).status is JobStatus.CANCELLING, "something of it still lives"
    queue.cancel(held.id, grace_s=0)
    assert queue.wait(held.id, poll_s=0.04).status is JobStatus.CANCELLED
    assert is_gone(grandchild)


def test_cancelling_a_finished_job_changes_nothing(queue: JobQueue) -> None:
    done = queue.wait(queue.submit("echo", {}, title="Echo").id, poll_s=0.04)
    assert queue.cancel(done.id) == done
