import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine.jobs import JobError, JobQueue, JobStatus, Progress
from engine.jobs.job import job_fingerprint

from .conftest import ENTRYPOINT


def test_a_job_ends_with_its_result(queue: JobQueue, home: Path) -> None:
    seen: list[Progress] = []
    submitted = queue.submit("echo", {"word": "hello"}, title="Echo")
    job = queue.wait(submitted.id, poll_s=0.04, on_progress=seen.append)

    assert (job.status, job.result, job.error) == (JobStatus.DONE, {"word": "hello"}, None)
    assert job.attempts == 1
    assert job.created <= job.started <= job.finished
    assert job.progress == seen[-1] == queue.progress_history(job.id)[-1]
    assert job.progress.fraction == 1.0
    assert queue.log(job.id).splitlines()[-1] == "echo says hello"
    assert queue.log(job.id, last_lines=1) == "echo says hello"
    folder = home / "jobs" / job.id
    assert json.loads((folder / "spec.json").read_text()) == {
        "operation": "echo",
        "arguments": {"word": "hello"},
    }
    assert sorted(path.name for path in folder.iterdir()) == [
        "log.txt",
        "progress.jsonl",
        "result.json",
        "spec.json",
    ]


def test_modules_of_the_folder_somebody_works_in_are_not_imported(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that was downloaded with a model may hold any code."""
    (tmp_path / "json.py").write_text("raise SystemExit('imported')")
    (tmp_path / "engine.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    job = queue.wait(queue.submit("echo", {"word": "hello"}, title="Echo").id, poll_s=0.04)
    assert (job.status, job.error) == (JobStatus.DONE, None)


def test_a_job_does_not_run_in_the_folder_of_whoever_started_the_worker(
    queue: JobQueue, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There, a hub id could be the name of a folder."""
    monkeypatch.chdir(tmp_path)
    job = queue.wait(queue.submit("where", {}, title="Where").id, poll_s=0.04)
    assert Path(job.result).is_relative_to(home)


def test_equal_specs_are_one_job_and_a_done_one_runs_again_only_if_asked(queue: JobQueue, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    arguments = {"notes": str(notes), "word": "once"}
    first = queue.submit("note", arguments, title="Note")
    queue.wait(first.id, poll_s=0.04)
    again = queue.submit("note", dict(reversed(arguments.items())), title="Note")
    assert (again.id, again.status) == (first.id, JobStatus.DONE)
    assert queue.resume(first.id).status is JobStatus.DONE
    assert notes.read_text().split() == ["once"]

    forced = queue.submit("note", arguments, title="Note", resubmit=True)
    assert forced.id == first.id
    done = queue.wait(first.id, poll_s=0.04)
    assert (done.attempts, done.result) == (2, "once")
    assert notes.read_text().split() == ["once", "once"]


FAILURES = {
    "engine": "The model 'x' was not found: give a folder.",
    "store": "The artifact is damaged: run again.",
    "bug": "Unexpected TypeError: unsupported operand type(s) for +: 'int' and 'str'. "
    "This is a bug in RankScope; the log has the details.",
    "memory": "The job ran out of memory: lower",
    "disk": "The disk is full ([Errno 28] No space left on device): free some space",
    "disk-of-arrays": "The disk is full (Error while serializing: I/O error: File too large (os error 27)): free",
    "exit": "The job's process ended with exit code 3 and without a result; the log has the details.",
    "taken": "The job's process ended with exit code 75 and without a result; the log has the details.",
    "crash": "The job's process crashed (SIGSEGV); the log has the details.",
    "terminated": "The job's process was stopped from outside (SIGTERM): resume the job",
    "not-json": "Unexpected TypeError: Object of type object is not JSON serializable. This is a bug",
    "nan": "Unexpected ValueError: Out of range float values are not JSON compliant",
}


def test_every_failure_ends_with_a_sentence_and_leaves_the_queue_going(
    queue: JobQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ids = {how: queue.submit("fail", {"how": how}, title=how).id for how in FAILURES}
    for how, job_id in ids.items():
        job = queue.wait(job_id, poll_s=0.04)
        assert job.status is (JobStatus.INTERRUPTED if how == "terminated" else JobStatus.FAILED), how
        assert job.error is not None
        assert job.error.startswith(FAILURES[how]), job.error
        assert job.result is None
        assert "about to fail" in queue.log(job_id)
    assert 'return 1 + arguments["how"]' in queue.log(ids["bug"])
    assert "Fatal Python error: Segmentation fault" in queue.log(ids["crash"])


def test_an_entry_point_that_cannot_be_imported_is_a_failure(home: Path) -> None:
    queue = JobQueue(home, "tests.engine.jobs.nowhere:run")
    job = queue.wait(queue.submit("echo", {}, title="Nowhere").id, poll_s=0.04)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert job.error.startswith("Unexpected ModuleNotFoundError: No module named 'tests.engine.jobs.nowhere'.")


def test_a_job_that_needs_more_memory_than_is_free_is_refused(queue: JobQueue) -> None:
    estimate = {"memory_bytes": 2**50}
    job = queue.wait(queue.submit("echo", {"word": "big"}, title="Big", estimate=estimate).id, poll_s=0.04)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 0)
    assert job.error is not None
    assert job.error.startswith("The job needs about 1048576.0 GiB of memory and ")
    smaller = queue.submit("echo", {"word": "big"}, title="Big", estimate={"memory_bytes": 1})
    assert queue.wait(smaller.id, poll_s=0.04).status is JobStatus.DONE


def test_jobs_run_oldest_first_and_are_listed_newest_first(queue: JobQueue, hold, tmp_path: Path) -> None:
    held = hold()
    notes = tmp_path / "notes"
    ids = [queue.submit("note", {"notes": str(notes), "word": word}, title=word).id for word in "abc"]
    assert [queue.get(job_id).position for job_id in ids] == [1, 2, 3]
    assert [job.id for job in queue.jobs()] == [*reversed(ids), held.id]
    held.let_go()
    assert queue.wait(ids[-1], poll_s=0.04).position is None
    assert notes.read_text().split() == ["a", "b", "c"]


def test_ids_may_be_shortened_and_unknown_ones_are_answered_with_what_exists(queue: JobQueue) -> None:
    with pytest.raises(JobError, match=r"There is no job 'abc'; there are none\."):
        queue.get("abc")
    job = queue.submit("echo", {"word": 0}, title="Zero")
    assert queue.get(job.id[:6]).id == job.id
    with pytest.raises(JobError, match=rf"There is no job 'xyz'; there is {job.id} \(Zero\)\."):
        queue.get("xyz")
    twin = next(word for word in range(1, 1000) if job_fingerprint("echo", {"word": word})[0] == job.id[0])
    queue.submit("echo", {"word": twin}, title="Twin")
    with pytest.raises(JobError, match=r"could be .* \(Twin\), .* \(Zero\): give more of the id\."):
        queue.get(job.id[0])
    for verb in (queue.cancel, queue.resume, queue.forget, queue.log, queue.wait, queue.progress_history):
        with pytest.raises(JobError, match="There is no job 'xyz'"):
            verb("xyz")


def test_only_a_finished_job_can_be_forgotten(queue: JobQueue, hold, home: Path) -> None:
    held = hold()
    with pytest.raises(JobError, match=r"\(held\) is running: cancel it"):
        queue.forget(held.id)
    held.let_go()
    queue.wait(held.id, poll_s=0.04)
    queue.forget(held.id)
    assert queue.jobs() == []
    assert not (home / "jobs" / held.id).exists()


@pytest.mark.parametrize("arguments", [{"a": object()}, {"a": float("inf")}])
def test_arguments_are_json(queue: JobQueue, arguments: dict[str, object]) -> None:
    with pytest.raises(JobError, match="The arguments of 'echo' are not made of finite JSON values"):
        queue.submit("echo", arguments, title="No")
    assert queue.jobs() == []


def test_a_record_of_another_version_or_a_damaged_one_is_refused_with_a_sentence(home: Path) -> None:
    import sqlite3

    elsewhere = home.parent / "other"
    JobQueue(elsewhere, ENTRYPOINT)
    with sqlite3.connect(elsewhere / "jobs.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(JobError, match="has version 99 and this RankScope reads version 3"):
        JobQueue(elsewhere, ENTRYPOINT)
    (elsewhere / "jobs.sqlite3").write_bytes(b"not a database" * 1000)
    with pytest.raises(JobError, match="cannot be used"):
        JobQueue(elsewhere, ENTRYPOINT)


def test_the_queue_is_light_to_import() -> None:
    heavy = "{'torch', 'transformers', 'streamlit', 'numpy', 'filelock'}"
    code = f"import sys, engine.jobs; print(sorted({heavy} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
