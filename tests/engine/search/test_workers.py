"""Several real processes on one study, and workers that die."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from optuna.trial import TrialState

from engine.search.shares import Shares
from engine.search.study import evaluated_trials, open_storage, open_study, run_trials
from tests.engine.search.worker import GOAL, SPACE, Worker, bowl
from tests.support.tiers import sweep_unless

VARIABLES = frozenset(variable.name for variable in SPACE.variables)


@pytest.fixture(params=sweep_unless(["journal", "sqlite"], {"journal"}))
def storage(request, tmp_path):
    return str(tmp_path / "study.journal") if request.param == "journal" else f"sqlite:///{tmp_path / 'study.db'}"


def study_of(storage):
    return open_study(open_storage(storage), "shared", GOAL, [], 0)


def test_two_workers_share_a_study(storage):
    workers = [Worker(storage, 5, 0.3, seed) for seed in (0, 1)]
    began = [{line for line in worker.lines() if line.startswith("begin")} for worker in workers]
    assert all(began)
    assert not began[0] & began[1]
    study = study_of(storage)
    measured = evaluated_trials(study)
    assert len(measured) == 5
    assert len(began[0] | began[1]) == len(measured)
    assert all(GOAL.allows(t.kept_fraction) for t in measured)
    assert not study.get_trials(states=(TrialState.RUNNING,))


def test_what_a_killed_worker_was_measuring_is_measured_by_the_next(storage):
    victim = Worker(storage, 4, 600, 0)
    assert victim.says.readline() == "begin 0\n"
    victim.kill()
    Worker(storage, 4, 0, 1).lines()
    study = study_of(storage)
    lost, *rest = sorted(study.get_trials(), key=lambda t: t.number)
    assert lost.state is TrialState.FAIL
    assert any(t.params == lost.params and t.state is TrialState.COMPLETE for t in rest)
    assert len(evaluated_trials(study)) == 4


def test_what_a_worker_was_measuring_when_it_was_killed_is_measured_by_those_that_go_on(storage):
    victim = Worker(storage, 4, 600, 0)
    assert victim.says.readline() == "begin 0\n"
    other = Worker(storage, 4, 0.1, 1)
    assert other.says.readline().startswith("begin ")
    victim.kill()
    other.lines()
    study = study_of(storage)
    lost = study.get_trials()[0]
    assert lost.state is TrialState.FAIL
    assert sum(t.point == lost.params for t in evaluated_trials(study)) == 1
    assert len(evaluated_trials(study)) == 4


def of_elsewhere(storage):
    trial = study_of(storage).ask()
    for name in VARIABLES:
        trial.suggest_float(name, 0.2, 1.0)
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "started": 0.0})
    return trial


def states(storage):
    return [t.state for t in study_of(storage).get_trials()]


def test_a_trial_of_another_machine_is_left_to_it_while_it_shows_that_it_lives(storage):
    trial = of_elsewhere(storage)
    shares = Shares(study_of(storage), VARIABLES, silence_s=0)
    for beat in range(3):
        trial.set_user_attr("beat", beat)
        shares.requeue_dead()
    assert states(storage) == [TrialState.RUNNING]


def test_a_trial_of_another_machine_that_fell_silent_is_queued_once_whoever_notices(storage):
    of_elsewhere(storage)
    several = [Shares(study_of(storage), VARIABLES, silence_s=0) for _ in range(4)]
    for _ in range(2):
        with ThreadPoolExecutor(4) as at_once:
            list(at_once.map(Shares.requeue_dead, several))
    assert states(storage) == [TrialState.FAIL, TrialState.WAITING]


def test_a_worker_that_was_thought_dead_does_not_end_a_trial_twice(storage):
    study = study_of(storage)

    def evaluate(point, number):
        if number == 0:
            study.tell(0, state=TrialState.FAIL)
        return bowl(point)

    study.enqueue_trial(dict.fromkeys(VARIABLES, 0.75))
    run_trials(study, SPACE, GOAL, evaluate, 2, lambda: None)
    assert states(storage)[0] is TrialState.FAIL
    assert len(evaluated_trials(study)) == 2


@pytest.mark.parametrize("storage", ["journal", "sqlite"], indirect=True)
def test_workers_that_claim_at_once_never_hold_more_than_are_wanted(storage):
    study = study_of(storage)
    for index in range(12):
        study.enqueue_trial(dict.fromkeys(VARIABLES, 0.5 + index / 100))

    def claim(_):
        study = study_of(storage)
        trial = study.ask()
        for name in VARIABLES:
            trial.suggest_float(name, 0.2, 1.0)
        shares = Shares(study, VARIABLES)
        shares.own(trial)
        return shares.claim(trial, 3)

    with ThreadPoolExecutor(4) as at_once:
        held = sum(at_once.map(claim, range(8)))
    assert held <= 3
    assert Shares(study, VARIABLES).n_taken() == held


def test_starting_points_that_two_workers_queued_are_measured_once(storage):
    study = study_of(storage)
    for share in (0.75, 0.76, 0.75, 0.76):
        study.enqueue_trial(dict.fromkeys(VARIABLES, share))
    run_trials(study, SPACE, GOAL, lambda point, _: bowl(point), 3, lambda: None)
    points = [tuple(t.point.values()) for t in evaluated_trials(study)]
    assert len(points) == len(set(points)) == 3


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
