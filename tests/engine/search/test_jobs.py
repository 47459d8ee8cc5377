"""A search by several jobs of this machine at once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from engine.jobs import JobQueue, JobStatus
from engine.jobs.engines import choose
from engine.operations import Search, SearchWorker, submit
from engine.pipeline.reading.trials import trials
from engine.search.goals import Goal
from engine.search.study import evaluated_trials, open_storage, open_study
from engine.settings import job_settings


def searched(analysis, text_file, **changes):
    return Search(
        analysis=analysis.id, text=str(text_file), n_sequences=4, length=32, n_subset=2, n_allocations=2, rank_step=2,
        device="cpu", **changes,
    )  # fmt: skip


def test_helpers_differ_from_their_search_only_in_who_they_are(text_file):
    search = Search(analysis="a" * 64, text=str(text_file), trials=6, workers=3)
    helpers = search.helpers()
    assert [helper.worker for helper in helpers] == [1, 2]
    assert {(helper.spec(), helper.workers, helper.helpers()) for helper in helpers} == {(search.spec(), 1, ())}
    assert search.changed(workers=1).helpers() == ()


@pytest.mark.long
@pytest.mark.parametrize("engine", ["local", "command"])
def test_two_jobs_share_the_trials_and_one_is_killed(tmp_path, analysed, text_file, monkeypatch, engine):
    monkeypatch.setenv("RANKSCOPE_HOME", str(tmp_path))
    store, analysis = analysed("llama-gqa")
    monkeypatch.setenv("RANKSCOPE_COMMAND", "env {command}")
    queue = JobQueue(tmp_path, engine=choose(job_settings(), engine))
    lead = submit(searched(analysis, text_file, trials=8, workers=2), queue, store)
    (helper,) = (job.id for job in queue.jobs() if job.operation == SearchWorker.name)
    deadline = time.monotonic() + 240
    while (killed := queue.get(helper)).progress is None or killed.progress.stage != "search":
        assert time.monotonic() < deadline
        assert not killed.status.is_final
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    done = queue.wait(lead.id)
    assert (done.status, done.result["trials"]) == (JobStatus.DONE, 8)
    assert queue.wait(helper).status is JobStatus.FAILED
    queue.resume(helper)
    again = queue.wait(helper)
    assert again.status is JobStatus.DONE
    assert {**again.result, "seconds": 0} == {**done.result, "seconds": 0}
    study = open_study(open_storage(done.result["storage"]), done.result["study"], Goal.at(0.8), [], 0)
    assert len(evaluated_trials(study)) == 8
    assert done.result["best"]["objective"] == min(trial.objective for trial in trials(store, analysis.id))
