"""Several real processes on one study, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna.trial import TrialState

from engine.search.study import evaluated_trials, open_storage, open_study
from tests.engine.search.worker import GOAL, SPACE

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["journal", "sqlite"])
def storage(request, tmp_path):
    return str(tmp_path / "study.journal") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def start(storage, n_trials, seconds, seed):
    command = [sys.executable, "-m", "tests.engine.search.worker", storage, str(n_trials), str(seconds), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


def study_of(storage):
    return open_study(open_storage(storage), "shared", SPACE, GOAL, [], 0)


def test_two_workers_share_a_study(storage):
    workers = [start(storage, 5, 0.3, seed) for seed in (0, 1)]
    printed = [w.communicate(timeout=240)[0].splitlines() for w in workers]
    assert [w.returncode for w in workers] == [0, 0]
    began = [{line for line in lines if line.startswith("begin")} for lines in printed]
    assert all(began)
    assert not began[0] & began[1]
    study = study_of(storage)
    measured = evaluated_trials(study)
    assert 5 <= len(measured) <= 6
    assert len(began[0] | began[1]) == len(measured)
    assert all(GOAL.allows(t.kept_fraction) for t in measured)
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_what_a_killed_worker_was_measuring_is_measured_by_the_next(storage):
    victim = start(storage, 4, 600, 0)
    assert victim.stdout.readline() == "begin 0\n"
    victim.send_signal(signal.SIGKILL)
    victim.wait(timeout=30)
    next_worker = start(storage, 4, 0, 1)
    next_worker.communicate(timeout=240)
    assert next_worker.returncode == 0
    study = study_of(storage)
    lost, *rest = sorted(study.get_trials(), key=lambda t: t.number)
    assert lost.state is TrialState.FAIL
    assert any(t.params == lost.params and t.state is TrialState.COMPLETE for t in rest)
    assert len(evaluated_trials(study)) == 4


def test_a_trial_of_another_machine_is_left_to_it(storage):
    study = study_of(storage)
    trial = study.ask()
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "started": 0.0})
    assert [t.state for t in study_of(storage).get_trials()] == [TrialState.RUNNING]


def test_a_queued_trial_is_taken_once(storage):
    queued = study_of(storage)
    for index in range(40):
        queued.enqueue_trial({"q": 0.5 + index / 100})

    def take(_):
        study = study_of(storage)
        return [study.ask().number for _ in range(10)]

    with ThreadPoolExecutor(4) as workers:
        taken = [number for numbers in workers.map(take, range(4)) for number in numbers]
    assert sorted(taken) == list(range(40))
