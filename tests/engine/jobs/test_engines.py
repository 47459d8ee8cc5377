"""The engines of jobs that need no cluster, by the promises of all engines."""

import socket
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import RankScopeError
from engine.jobs import JobQueue, JobStatus
from engine.jobs.choice import EngineChoice
from engine.jobs.engines import choose
from engine.jobs.engines._ray_client import Answer, RayClient, UnreachableError
from engine.jobs.engines.command import _CommandAttempt
from engine.jobs.engines.ray import RayAttempt
from engine.jobs.files import JobFolder
from engine.jobs.processes import LocalProcess
from engine.jobs.record import JobRecord
from engine.jobs.remote import NO_FOLDER, run
from engine.settings import JobSettings, job_settings

from .conftest import ENTRYPOINT, eventually
from .contract import EngineContract, RemoteEngineContract

SETTINGS = JobSettings(
    engine="local",
    resources="",
    ray_address="",
    ray_patience_s=90.0,
    command="",
    command_cancel="",
    command_status="",
    python=sys.executable,
)


class TestLocal(EngineContract):
    pass


class TestCommand(RemoteEngineContract):
    """``flock`` stands for a cluster's scheduler: it waits for its turn, then runs the command."""

    @pytest.fixture
    def queue(self, home: Path, tmp_path: Path) -> JobQueue:
        return JobQueue(
            home, ENTRYPOINT, choose(replace(SETTINGS, command=f"flock {tmp_path}/lock {{command}}"), "command")
        )

    @pytest.mark.sweep
    def test_every_failure_ends_with_a_sentence(self, queue: JobQueue) -> None:
        super().test_every_failure_ends_with_a_sentence(queue)

    def test_the_cluster_is_asked_how_a_waiting_job_is_and_told_that_it_was_cancelled(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")
        templates = replace(
            SETTINGS,
            command="sh -c 'sleep 600' {command}",
            command_status="echo PENDING {name}",
            command_cancel=f"touch {tmp_path}/cancelled-{{name}}",
        )
        queue = JobQueue(home, ENTRYPOINT, choose(templates, "command"))
        job = queue.submit("echo", {}, title="Echo")
        eventually(lambda: queue.get(job.id).status is JobStatus.RUNNING)
        eventually(lambda: "PENDING" in str(queue.get(job.id).place))
        assert str(queue.get(job.id).place) == f"waiting at sh (PENDING rankscope-{job.id})"
        queue.cancel(job.id)
        assert queue.wait(job.id, poll_s=0.04).status is JobStatus.CANCELLED
        assert (tmp_path / f"cancelled-rankscope-{job.id}").exists()

    def test_how_a_job_ended_far_away_is_read_from_the_exit_code(self, home: Path) -> None:
        queue = JobQueue(home, ENTRYPOINT, choose(replace(SETTINGS, command="sh -c 'exit 137' {command}"), "command"))
        job = queue.wait(queue.submit("echo", {}, title="Echo").id, poll_s=0.04)
        assert job.error.startswith("The job's process was killed (SIGKILL)")

    def test_a_command_that_does_not_exist_is_named(self, home: Path) -> None:
        queue = JobQueue(home, ENTRYPOINT, choose(replace(SETTINGS, command="srun-not-here {command}"), "command"))
        job = queue.wait(queue.submit("echo", {}, title="Echo").id, poll_s=0.04)
        assert job.status is JobStatus.FAILED
        assert "srun-not-here cannot be started: No such file or directory." in queue.log(job.id)

    def test_a_job_may_be_resumed_on_another_engine(self, queue: JobQueue, hold) -> None:
        held = hold()
        queue.cancel(held.id)
        queue.wait(held.id, poll_s=0.04)
        held.let_go()
        resumed = queue.resume(held.id, EngineChoice())
        assert queue.wait(resumed.id, poll_s=0.04).status is JobStatus.DONE
        assert (queue.get(held.id).engine, queue.get(held.id).place) == (EngineChoice(), None)


def test_a_command_that_ends_before_it_took_its_job_is_told_at_once(record: JobRecord) -> None:
    settings = {"command": "x {command}", "cancel": "", "status": "", "python": sys.executable}
    record.enqueue("f" * 12, "echo", {}, "Echo", {}, again=False, engine=EngineChoice("command", settings))
    job, log = record.get("f" * 12), record.folder("f" * 12).log
    attempt = _CommandAttempt(record, job, LocalProcess.start(["sh", "-c", "echo wrong; exit 1"], log))
    eventually(attempt.advance, timeout_s=10)
    ended = record.get("f" * 12)
    assert ended.status is JobStatus.FAILED
    assert ended.error.startswith("The job's process ended with exit code 1 before it began")


class Silent(RayClient):
    """A cluster that takes a job, and is gone when it is asked how many wait before it."""

    def submit(self, name: str, command: str, resources: Mapping[str, float]) -> None:
        pass

    def ask(self, name: str) -> Answer:
        return Answer(True, False, False, False, None, "")

    def n_ahead(self, name: str) -> int:
        raise UnreachableError("The Ray cluster does not answer")


@pytest.mark.parametrize(("patience_s", "status"), [(60, JobStatus.RUNNING), (0, JobStatus.INTERRUPTED)])
def test_a_cluster_that_is_lost_between_two_questions_is_waited_for(
    record: JobRecord, patience_s: float, status: JobStatus
) -> None:
    settings = {"address": "http://silent", "patience_s": str(patience_s), "python": sys.executable}
    record.enqueue("f" * 12, "echo", {}, "Echo", {}, again=False, engine=EngineChoice("ray", settings))
    record.claim("f" * 12, None)
    attempt = RayAttempt(record, record.get("f" * 12), Silent("http://silent"), ENTRYPOINT)
    assert attempt.advance() is status.is_final
    assert record.get("f" * 12).status is status
    record.close("f" * 12, 1, JobStatus.INTERRUPTED)


@pytest.mark.parametrize("engine", ["local", "command"])
def test_a_helper_is_cancelled_and_resumed_with_its_job(home: Path, tmp_path: Path, engine: str) -> None:
    queue = JobQueue(home, ENTRYPOINT, choose(replace(SETTINGS, command="env {command}"), engine))
    folder = {"folder": str(tmp_path)}
    lead = queue.submit("hold", {**folder, "who": "lead"}, title="Lead").id
    both = (lead, queue.submit("hold", folder, title="Helper", lead=lead).id)
    eventually((tmp_path / "started").exists)
    queue.cancel(lead)
    assert [queue.wait(job_id, poll_s=0.04).status for job_id in both] == [JobStatus.CANCELLED] * 2
    (tmp_path / "gate").touch()
    queue.resume(lead)
    done = [queue.wait(job_id, poll_s=0.04) for job_id in both]
    assert [(job.status, job.result, job.engine) for job in done] == [(JobStatus.DONE, "held", queue.engine)] * 2
    assert [job.lead for job in done] == [None, lead]


def test_an_attempt_that_was_called_off_or_followed_by_another_does_not_begin(home: Path, record: JobRecord) -> None:
    record.enqueue("abc", "echo", {}, "Echo", {}, again=False)
    folder = record.folder("abc")
    folder.remote(1).open()
    folder.remote(2).open()
    assert run(folder, 1, ENTRYPOINT) == 75
    folder.remote(2).call_off()
    assert run(folder, 2, ENTRYPOINT) == 75
    assert folder.remote(2).host() is None


def test_a_machine_without_the_home_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(JobFolder(tmp_path / "abc"), 1, ENTRYPOINT) == NO_FOLDER
    assert f"on {socket.gethostname()}: the home has to be a folder all machines share." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("settings", "resources", "said"),
    [
        ({"engine": "rey"}, None, "did you mean 'ray'"),
        ({"engine": "command"}, None, "needs RANKSCOPE_COMMAND"),
        ({"engine": "command", "command": "srun"}, None, "needs {command} as a word of its own"),
        ({"engine": "command", "command": "srun 'x {command}"}, None, "cannot be read (No closing quotation)"),
        ({"engine": "command", "command": "srun -G {gpu} {command}"}, None, "names {gpu}, and the job has no such"),
        ({"engine": "ray"}, None, "needs RANKSCOPE_RAY_ADDRESS"),
        ({"engine": "ray", "ray_address": "10.0.0.1:8265"}, None, "such as http://10.0.0.1:8265"),
        ({}, "gpu", "cannot be read at 'gpu'"),
        ({"resources": "gpu=-1"}, None, "cannot be read at 'gpu=-1'"),
        ({}, "gpu=inf", "cannot be read at 'gpu=inf'"),
    ],
)
def test_what_is_not_set_up_is_said_before_anything_is_queued(
    settings: dict[str, str], resources: str | None, said: str
) -> None:
    if settings.get("engine") == "ray":
        pytest.importorskip("ray")
    with pytest.raises(RankScopeError) as refused:
        choose(replace(SETTINGS, **settings), None, resources)
    assert said in str(refused.value)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKSCOPE_ENGINE", "command")
    monkeypatch.setenv("RANKSCOPE_COMMAND", "srun -G {gpu} {command}")
    monkeypatch.setenv("RANKSCOPE_RESOURCES", "gpu=2, cpu=8")
    choice = choose(job_settings())
    assert (choice.name, choice.resources) == ("command", {"gpu": 2.0, "cpu": 8.0})
    assert choose(job_settings(), "local").settings == {}
    monkeypatch.setenv("RANKSCOPE_RAY_PATIENCE_S", "soon")
    with pytest.raises(RankScopeError, match="'soon'; expected a number of seconds"):
        job_settings()
