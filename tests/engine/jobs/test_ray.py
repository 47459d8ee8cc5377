"""Jobs on a real Ray cluster of this machine, by the promises of all engines; one head serves the whole file."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from engine.jobs import JobQueue, JobStatus
from engine.jobs.choice import LOCAL
from engine.jobs.engines import choose
from engine.jobs.job import job_fingerprint
from engine.jobs.record import JobRecord
from engine.operations import Analyse, AnalyseShard, Search, SearchWorker, submit
from engine.pipeline.runs import RUN_LENGTH
from engine.progress import ignore_progress
from engine.search.goals import Goal
from engine.search.study import evaluated_trials, open_storage, open_study
from engine.settings import Home
from tests.conftest import TOY_LINES
from tests.support import toys

from .conftest import ENTRYPOINT, Held, eventually
from .contract import RemoteEngineContract
from .ray_head import Head
from .test_engines import SETTINGS

pytest.importorskip("ray")
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # the paths of its sockets must be short
    started = Head(folder)
    yield started
    started.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def queue(home: Path, head: Head) -> JobQueue:
    settings = replace(SETTINGS, ray_address=head.address)
    return JobQueue(home, ENTRYPOINT, choose(settings, "ray", "fakegpu=1,cpu=0.1"))


class TestRay(RemoteEngineContract):
    @pytest.mark.sweep
    def test_every_failure_ends_with_a_sentence(self, queue: JobQueue) -> None:
        super().test_every_failure_ends_with_a_sentence(queue)

    @pytest.mark.sweep
    def test_a_stubborn_family_is_killed(self, queue: JobQueue, hold) -> None:
        super().test_a_stubborn_family_is_killed(queue, hold)

    def test_the_cluster_tells_how_many_wait_before(self, queue: JobQueue, hold) -> None:
        held = hold()
        first, second = (queue.submit("echo", {"word": word}, title=word).id for word in "ab")
        self.waits(queue, first)
        eventually(lambda: queue.get(second).place is not None and queue.get(second).place.ahead == 1)
        assert str(queue.get(second).place) == f"waiting at the Ray cluster {queue.engine.settings['address']}, 1 ahead"
        for job_id in (first, second, held.id):
            queue.cancel(job_id)
        for job_id in (first, second, held.id):
            assert queue.wait(job_id, poll_s=0.04).status is JobStatus.CANCELLED

    @pytest.mark.parametrize(("is_cancelled", "ends"), [(False, JobStatus.DONE), (True, JobStatus.CANCELLED)])
    def test_a_job_whose_worker_was_killed_as_it_had_claimed_it_is_submitted_by_the_next(
        self, queue: JobQueue, record: JobRecord, is_cancelled: bool, ends: JobStatus
    ) -> None:
        arguments = {"word": "claimed"}
        job_id = job_fingerprint("echo", arguments)
        record.enqueue(job_id, "echo", arguments, "Echo", {}, again=False, engine=queue.engine)
        assert record.claim(job_id, None) == 1
        if is_cancelled:
            queue.cancel(job_id)
        queue.submit("echo", arguments, title="Echo")
        job = queue.wait(job_id, poll_s=0.04)
        assert (job.status, job.error, job.attempts) == (ends, None, 1)


def test_a_cluster_that_is_not_there_is_said_at_once(home: Path) -> None:
    nowhere = choose(replace(SETTINGS, ray_address="http://127.0.0.1:9"), "ray")
    queue = JobQueue(home, ENTRYPOINT, nowhere)
    job = queue.wait(queue.submit("echo", {}, title="Echo").id, poll_s=0.04)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 0)
    assert job.error.startswith("The Ray cluster http://127.0.0.1:9 does not answer (")


@pytest.fixture
def toy_analysis(tmp_path: Path, toy_tokenizer: PreTrainedTokenizerFast) -> Analyse:
    toys.build("llama-gqa").save_pretrained(tmp_path / "model")
    toy_tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("\n\n".join(f"{line} Part {i}." for i in range(80) for line in TOY_LINES))
    return Analyse(
        model=str(tmp_path / "model"), text=str(tmp_path / "text.txt"), n_sequences=6, length=16,
        device="cpu", compute_dtype="float32", metrics=("loss",),
    )  # fmt: skip


@pytest.fixture
def cluster(home: Path, head: Head, warm_python: Path) -> JobQueue:
    settings = replace(SETTINGS, ray_address=head.address, python=str(warm_python))
    return JobQueue(home, engine=choose(settings, "ray", "cpu=1"))


def test_a_search_by_two_workers_of_a_cluster_measures_every_trial_once(
    cluster: JobQueue, toy_analysis: Analyse
) -> None:
    home = Home(cluster.home)
    analysed = toy_analysis.changed(metrics=("feature", "loss")).run(home, ignore_progress)
    search = Search(
        analysis=analysed["analysis"], text=toy_analysis.text, n_sequences=4, length=16, n_subset=2, n_allocations=2,
        rank_step=2, trials=4, workers=2, device="cpu",
    )  # fmt: skip
    submit(search, cluster, home.store)
    ended = [cluster.wait(job.id) for job in cluster.jobs()]
    assert {(job.operation, job.status) for job in ended} == {
        (Search.name, JobStatus.DONE), (SearchWorker.name, JobStatus.DONE)
    }  # fmt: skip
    assert all(job.engine == cluster.engine and job.place.host for job in ended)
    first, second = ({**job.result, "seconds": 0} for job in ended)
    assert first == second
    study = open_study(open_storage(first["storage"]), first["study"], Goal.at(0.8), [], 0)
    points = [tuple(trial.point.values()) for trial in evaluated_trials(study)]
    assert len(points) == len(set(points)) == first["trials"] == 4


@pytest.mark.long
def test_an_analysis_shared_out_over_a_cluster_is_that_of_one_job(
    cluster: JobQueue, toy_analysis: Analyse, tmp_path: Path
) -> None:
    queue, analysis = cluster, toy_analysis.changed(n_sequences=2 * RUN_LENGTH + 7)
    shared, whole = (Home(folder) for folder in (queue.home, tmp_path / "whole"))
    shares = [AnalyseShard(**analysis.arguments(), shard=shard, n_shards=2) for shard in range(2)]
    ids = [submit(share, queue, shared.store).id for share in shares]
    ended = [queue.wait(job_id) for job_id in ids]
    assert all((job.status, job.engine) == (JobStatus.DONE, queue.engine) for job in ended)
    made = {job.result.get("analysis") for job in ended} - {None}
    assert made == {analysis.run(whole, ignore_progress)["analysis"]}
    members = [{key: one.store.read(key).manifest.members for key in one.store.keys()} for one in (shared, whole)]  # noqa: SIM118
    assert members[0] == members[1]


def test_a_lost_cluster_interrupts_its_jobs_which_resume_elsewhere(queue: JobQueue, head: Head, tmp_path: Path) -> None:
    """The last test of the file: it has no head afterwards."""
    impatient = replace(queue.engine, settings={**queue.engine.settings, "patience_s": "2"})
    held = Held(JobQueue(queue.home, ENTRYPOINT, impatient), tmp_path / "held")
    head.kill()
    job = queue.wait(held.id, poll_s=0.04)
    assert job.status is JobStatus.INTERRUPTED
    assert job.error.startswith(f"The Ray cluster {head.address} does not answer")
    queue.resume(held.id, LOCAL)
    held.let_go()
    done = queue.wait(held.id, poll_s=0.04)
    assert (done.status, done.attempts, done.result) == (JobStatus.DONE, 2, "held")
