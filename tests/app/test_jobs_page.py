"""The Jobs page: estimates, what waits for what, logs on demand, and what to do about a job that failed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app.services.estimates import estimate, jobs_ahead, remaining_seconds
from cache.processes import this_process
from engine.jobs import Job, JobQueue, JobStatus, Progress
from engine.jobs.choice import EngineChoice
from engine.jobs.progress import ProgressReporter
from engine.jobs.record import JobRecord
from engine.methods.cost import cost_of
from engine.operations import Evaluate
from engine.rank_map.document import parse_rank_map
from engine.results.words import percent

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def done(seconds: float, operation: str = "evaluate", **arguments: object) -> Job:
    return Job(
        id="0", operation=operation, arguments={"analysis": "a", "rank_maps": ["m"], **arguments}, title="t",
        estimate={}, status=JobStatus.DONE, created=0, started=100, finished=100 + seconds, pid=1, pid_started=1,
        attempts=1, kill_at=None, error=None, position=None,
    )  # fmt: skip


def test_an_estimate_grows_with_the_amount_and_takes_the_slowest_pace() -> None:
    past = [done(10, rank_maps=["m"]), done(60, n_sequences=40, rank_maps=["m", "n"]), done(0.1, rank_maps=["m"])]
    found = estimate(Evaluate(analysis="a", rank_maps=("x",), n_sequences=80), past)
    assert found is not None
    assert found.seconds == pytest.approx(80)
    assert found.n_jobs == 3
    assert "up to about 1 min" in str(found)


@pytest.mark.parametrize(
    "other",
    [
        done(10, operation="search"),
        done(10, dtype="bfloat16"),
        done(10, analysis="b"),
        done(10, level="quick"),
        done(10, unknown_today=1),
        replace(done(10), status=JobStatus.FAILED),
        replace(done(10), attempts=2),
    ],
)
def test_only_jobs_that_compare_make_an_estimate(other: Job) -> None:
    assert estimate(Evaluate(analysis="a", rank_maps=("m",)), [other]) is None
    assert estimate(Evaluate(analysis="a", rank_maps=("m",), text="demo:news"), [other, done(7)]).n_jobs == 1


def test_jobs_of_another_engine_make_no_estimate() -> None:
    cluster, operation = EngineChoice("ray", {"address": "a"}), Evaluate(analysis="a", rank_maps=("m",))
    there = replace(done(7), engine=cluster)
    assert estimate(operation, [there]) is None
    assert estimate(operation, [done(10)], cluster) is None
    assert str(estimate(operation, [there, done(10)], cluster)).endswith("based on a similar job on the same cluster")
    assert str(estimate(operation, [there, done(10)])).endswith("based on a similar job on this machine")


def test_time_left_counts_down_at_the_pace_of_the_latest_reports() -> None:
    def history(*points: tuple[float, float | None]) -> list[Progress]:
        return [Progress("s", fraction, "m", time=time) for time, fraction in points]

    # Opening the model has a pace of its own.
    opened = [Progress("model", 0.0, "m", time=0), Progress("model", 0.2, "m", time=10)]
    assert remaining_seconds([*opened, *history((20, 0.2), (60, 0.3))], 60) == pytest.approx(280)
    # A resumed job begins at a half: only what it did since then counts.
    reports = history((99, None), (100, 0.5), (120, 0.6))
    assert remaining_seconds(reports, 120) == pytest.approx(80)
    assert remaining_seconds(reports, 130) == pytest.approx(70)
    assert remaining_seconds(reports, 500) == 0
    assert remaining_seconds([], 0) is None
    assert remaining_seconds(history((0, 0.1), (1, 0.5)), 1) is None
    assert remaining_seconds(history((0, 0.1), (50, 0.1)), 50) is None


@pytest.fixture
def queue(home: Path, no_worker: None) -> JobQueue:
    """A queue whose worker never comes."""
    return JobQueue(home)


def begun(home: Path, job: Job) -> ProgressReporter:
    """Let this process be the one that runs a job."""
    record = JobRecord(home)
    assert record.claim(job.id, this_process()) is not None
    return ProgressReporter(record.folder(job.id).progress)


def told(page: AppTest) -> str:
    kinds = (page.markdown, page.caption, page.error, page.warning, page.info)
    return "\n".join(e.value for kind in kinds for e in kind).replace("\\", "")


def test_a_waiting_job_names_what_it_waits_for(open_page: Open, home: Path, queue: JobQueue) -> None:
    first, second, third = (queue.submit("analyse", {"seed": i}, title=f"Job {i}") for i in range(3))
    with begun(home, first) as report:
        report("calibration", 0.25, "reading")
        assert [j.title for j in jobs_ahead(queue.get(third.id), queue.jobs())] == ["Job 0", "Job 1"]
        page = open_page("jobs")
    assert not page.exception
    assert "Waiting for 'Job 0', then 'Job 1': jobs run one at a time" in told(page)
    titles = [m.value for m in page.markdown if "badge" in m.value]
    assert [title[-7:-2] for title in titles] == ["Job 0", "Job 1", "Job 2"]
    assert second.status is JobStatus.QUEUED


def test_a_running_job_takes_as_many_lines_whatever_it_reports(open_page: Open, home: Path, queue: JobQueue) -> None:
    job = queue.submit("analyse", {}, title="Job")

    def lines() -> tuple[int, int]:
        page = open_page("jobs")
        assert not page.exception
        return len(page.markdown), len(page.caption)

    waiting = lines()
    with begun(home, job) as report:
        starting = lines()
        report("a", None, "no fraction")
        unknown = lines()
        report("b", 0.5, "a message of many words " * 20)
        assert lines() == unknown == starting == waiting
    assert "time left unknown" in told(open_page("jobs"))


def test_a_job_of_a_cluster_says_where_it_waits_and_runs(open_page: Open, home: Path, no_worker: None) -> None:
    engine = EngineChoice(
        "ray", {"address": "http://10.0.0.1:8265", "patience_s": "90", "python": "python"}, {"gpu": 1}
    )
    queue, record = JobQueue(home, engine=engine), JobRecord(home)
    job, other = (queue.submit("analyse", {"seed": seed}, title=f"Job {seed}") for seed in (1, 2))
    assert jobs_ahead(other, queue.jobs()) == []
    record.claim(job.id, None)
    files = record.folder(job.id).remote(1)
    files.write_cluster(2, "")
    assert "Waiting at the Ray cluster http://10.0.0.1:8265, 2 ahead" in told(open_page("jobs"))
    files.write_begun("node7")
    assert "Running on node7, the Ray cluster http://10.0.0.1:8265 for 0 s" in told(open_page("jobs"))
    record.finish(job.id, 1, JobStatus.FAILED, "The disk is full.")
    page = open_page("jobs")
    assert "on node7, the Ray cluster http://10.0.0.1:8265 · id " in told(page)
    assert not page.exception


def test_a_failed_job_says_why_and_what_to_do(open_page: Open, home: Path, queue: JobQueue) -> None:
    job = queue.submit("analyse", {}, title="Job")
    begun(home, job).close()
    JobRecord(home).finish(job.id, 1, JobStatus.FAILED, "The disk is full.")
    page = open_page("jobs")
    assert "The disk is full. Fix the cause, then press 'Try again'" in told(page)
    assert [b.label for b in page.button][-2:] == ["Try again", "Forget"]


def test_the_shard_that_went_on_to_the_analysis_links_to_it(open_page: Open, home: Path, queue: JobQueue) -> None:
    for shard, result in enumerate(({"complete": False}, {"complete": True, "analysis": "5" * 64})):
        job = queue.submit("analyse-shard", {"shard": shard}, title=f"Shard {shard}")
        begun(home, job).close()
        JobRecord(home).folder(job.id).write_result(result)
        JobRecord(home).finish(job.id, 1, JobStatus.DONE)
    page = open_page("jobs")
    assert not page.exception
    (link,) = (one.proto for one in page.get("page_link") if one.proto.label == "Open the analysis")
    assert "5" * 12 in link.query_string


def test_a_log_is_read_only_while_it_is_open(open_page: Open, home: Path, queue: JobQueue) -> None:
    job = queue.submit("analyse", {}, title="Job")
    JobRecord(home).folder(job.id).log.write_text("first line\nsecond line\n")
    page = open_page("jobs")
    assert not page.code
    page = open_page("jobs", {f"log.{job.id}": True})
    assert not page.exception
    assert page.code[0].value == "first line\nsecond line"
    assert page.get("download_button")


def test_a_page_says_how_long_a_job_may_take(open_page: Open, analysed_home: Path, queue: JobQueue) -> None:
    assert "No comparable job has finished yet" in told(open_page("model"))
    job = queue.submit("analyse", {}, title="Job")
    begun(analysed_home, job).close()
    assert "1 other job is before it" in told(open_page("model"))
    JobRecord(analysed_home).finish(job.id, 1, JobStatus.DONE)
    page = open_page("model")
    assert "based on a similar job" in told(page)
    assert not page.exception


def test_a_job_that_outran_its_estimate_says_so(open_page: Open, home: Path, queue: JobQueue) -> None:
    quick, slow = (queue.submit("analyse", {"seed": seed}, title="Job") for seed in (1, 2))
    begun(home, quick).close()
    JobRecord(home).finish(quick.id, 1, JobStatus.DONE)
    with begun(home, slow):
        assert "longer than similar jobs took" in told(open_page("jobs"))


def test_a_job_stands_beside_the_map_it_measures_and_no_other(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, queue: JobQueue
) -> None:
    page = open_page("allocation", keep="0.8", method="water-filling")
    next(b for b in page.button if b.label == "Compress and measure").click().run()
    (job,) = queue.jobs()
    assert job.title == f"Measure Water-filling at {kept_by(job, toy_analysis)} of toy-model"

    def board(keep: str, method: str) -> AppTest:
        return open_page("allocation", keep=keep, method=method, job=job.id)

    with begun(analysed_home, job):
        assert f"**{job.title}**" in told(board("0.8", "water-filling"))
        assert f"**{job.title}**" not in told(board("0.6", "flrc"))
    JobRecord(analysed_home).finish(job.id, 1, JobStatus.DONE)
    assert "done after" in board("0.8", "water-filling").success[0].value
    assert not board("0.6", "flrc").success


def kept_by(job: Job, analysis: Analysis) -> str:
    """Return the kept fraction of the one map a job measures."""
    (document,) = job.arguments["rank_maps"]
    return percent(cost_of(analysis, parse_rank_map(document.encode())).kept_fraction)


def test_every_page_says_what_runs_and_announces_its_end(open_page: Open, analysed_home: Path, queue: JobQueue) -> None:
    page = open_page("spectra")
    assert not page.get("page_link") or "job" not in corner(page)
    job = queue.submit("evaluate", {}, title="Measure it")
    with begun(analysed_home, job) as report:
        report("compressed model", 0.25, "a quarter")
    page.run()
    assert corner(page) == "1 job 25 %"
    assert not page.toast
    JobRecord(analysed_home).finish(job.id, 1, JobStatus.DONE)
    page.run()
    assert [toast.value for toast in page.toast] == ["Finished: Measure it"]
    page.run()
    assert not page.toast
    assert "job" not in corner(page)


def corner(page: AppTest) -> str:
    """Return the first link of a page, which is the indicator's where something runs."""
    return next((link.proto.label for link in page.get("page_link")), "")


def test_finished_jobs_lead_to_their_results_and_are_forgotten_together(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, queue: JobQueue
) -> None:
    measured = queue.submit("evaluate", {"analysis": toy_analysis.id}, title="Measure it")
    begun(analysed_home, measured).close()
    JobRecord(analysed_home).finish(measured.id, 1, JobStatus.DONE)
    waiting = queue.submit("search", {"analysis": toy_analysis.id}, title="Search it")
    page = open_page("jobs")
    (link,) = [one.proto for one in page.get("page_link") if one.proto.label == "Show what was measured"]
    assert link.page == "results"
    assert f"analysis={toy_analysis.id[:12]}" in link.query_string
    page.button(key="jobs.forget-all").click().run()
    assert [job.id for job in queue.jobs()] == [waiting.id]


def test_the_first_steps_are_told_while_the_demo_is_fetched_and_analysed(
    open_page: Open, home: Path, queue: JobQueue
) -> None:
    assert told(open_page("overview")).count("**1. Fetch**") == 1
    job = queue.submit("analyse", {"measure": True}, title="Analyse the demo")
    with begun(home, job) as report:
        report("demo-download", 0.1, "Downloading")
        assert "**1. Fetch** :material/pending:" in told(open_page("overview"))
        report("calibration", 0.4, "Calibration")
        page = open_page("overview")
    assert "**1. Fetch** :material/check:" in told(page)
    assert "**2. Analyse** :material/pending:" in told(page)
    assert not page.exception


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "on this machine one at a time"),
        ({"RANKSCOPE_ENGINE": "command", "RANKSCOPE_COMMAND": "srun {command}"}, "through srun, as many at once"),
        ({"RANKSCOPE_ENGINE": "ray", "RANKSCOPE_RAY_ADDRESS": "http://head:8265"}, "the Ray cluster"),
    ],
)
def test_the_page_says_where_new_jobs_run(
    settings: dict[str, str], words: str, open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    page = open_page("jobs")
    assert not page.exception
    assert words in page.caption[0].value


def test_an_engine_that_is_not_set_up_is_one_sentence(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANKSCOPE_ENGINE", "nothing")
    page = open_page("jobs")
    assert not page.exception
    assert len(page.error) == 1
