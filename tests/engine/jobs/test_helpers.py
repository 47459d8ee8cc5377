"""Jobs that help another one: they run beside it, and are cancelled and resumed with it."""

from pathlib import Path

import pytest

from cache.processes import is_alive
from engine.jobs import JobQueue, JobStatus
from engine.jobs.record import JobRecord

from .conftest import eventually, kill

Two = tuple[str, str]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    folder = tmp_path / "both"
    folder.mkdir()
    return folder


@pytest.fixture
def two(queue: JobQueue, gate: Path) -> Two:
    """A job and its helper, which run at once."""
    lead = queue.submit("hold", {"folder": str(gate), "who": "lead"}, title="Lead").id
    helper = queue.submit("hold", {"folder": str(gate), "who": "helper"}, title="Helper", lead=lead).id
    eventually(lambda: (gate / "started").exists() and len((gate / "started").read_text().split()) == 2)
    return lead, helper


def statuses(queue: JobQueue, ids: Two) -> list[JobStatus]:
    return [queue.wait(job_id, poll_s=0.04).status for job_id in ids]


def test_a_helper_runs_beside_its_job_and_others_wait_for_both(
    queue: JobQueue, two: Two, gate: Path, tmp_path: Path
) -> None:
    other = queue.submit("note", {"notes": str(tmp_path / "notes"), "word": "after"}, title="Other")
    assert [queue.get(job_id).status for job_id in two] == [JobStatus.RUNNING] * 2
    assert queue.get(other.id).status is JobStatus.QUEUED
    (gate / "gate").touch()
    assert statuses(queue, two) == [JobStatus.DONE] * 2
    assert queue.wait(other.id, poll_s=0.04).status is JobStatus.DONE
    assert queue.get(two[1]).lead == two[0]


def test_the_next_worker_adopts_both(queue: JobQueue, two: Two, gate: Path, record: JobRecord) -> None:
    worker = record.worker()
    assert worker is not None
    kill(worker.pid)
    eventually(lambda: not is_alive(worker))
    (gate / "gate").touch()
    assert statuses(queue, two) == [JobStatus.DONE] * 2
    assert [queue.get(job_id).attempts for job_id in two] == [1, 1]


def test_a_helper_is_cancelled_alone(queue: JobQueue, two: Two, gate: Path) -> None:
    queue.cancel(two[1])
    assert queue.wait(two[1], poll_s=0.04).status is JobStatus.CANCELLED
    assert queue.get(two[0]).status is JobStatus.RUNNING
    (gate / "gate").touch()
    assert queue.wait(two[0], poll_s=0.04).status is JobStatus.DONE
