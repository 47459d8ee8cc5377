"""The search itself: an Optuna study with a Gaussian process, shared by any number of workers.

The study is told ln(objective), which has the same order and a far rounder shape than the perplexity itself.
"""

from __future__ import annotations

import contextlib
import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.distributions import FloatDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.samplers import GPSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from engine.errors import InfeasibleBudgetError, InvalidSpecError, NumericalError
from engine.results.pareto import pareto_front
from engine.search.journal import repair_journal
from engine.search.shares import OBJECTIVE, Shares
from engine.search.space import LOWEST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from optuna.study import Study
    from sqlalchemy import Connection

    from engine.search.goals import Goal
    from engine.search.space import SearchSpace

LOOK_EVERY_S = 0.5
"""So often a worker that has nothing to do looks at what the others do."""

_PROPOSALS_PER_TRIAL = 20
_SQLITE_WAITS_S = 100
_OPENING_TRIES = 4
_OPENING_PAUSE_S = 0.5


def open_storage(storage: str) -> BaseStorage:
    """Open what holds studies: a database URL, or the path of a journal file, made if it is missing.

    A journal that was cut or garbled is repaired first, which is printed.

    Raises:
        InvalidSpecError: the URL cannot be used.
    """
    if "://" not in storage:
        path = Path(storage)
        path.parent.mkdir(parents=True, exist_ok=True)
        if (note := repair_journal(path)) is not None:
            print(note)
        return JournalStorage(JournalFileBackend(storage))
    import sqlalchemy.event
    import sqlalchemy.exc

    # Several workers write to one SQLite file, each waiting for its turn.
    engine = {"connect_args": {"timeout": _SQLITE_WAITS_S}} if storage.startswith("sqlite") else {}
    for tries_left in reversed(range(_OPENING_TRIES)):
        try:
            opened = RDBStorage(storage, engine_kwargs=engine)
        except (sqlalchemy.exc.SQLAlchemyError, ImportError, ValueError) as error:
            # Workers that start together on an empty database make the same tables; all but one fail, once.
            if not isinstance(error, sqlalchemy.exc.DBAPIError) or not tries_left:
                raise InvalidSpecError(_unusable(storage, error)) from error
            time.sleep(_OPENING_PAUSE_S)
        else:
            if storage.startswith("sqlite"):
                sqlalchemy.event.listen(opened.engine, "begin", _lock_at_once)
            return opened
    raise AssertionError


def _lock_at_once(connection: Connection) -> None:
    """Begin a SQLite transaction with its write lock.

    Optuna takes a queued trial by reading its row for update and then writing it. SQLite locks no rows, and Python's
    driver locks the file with the first write only, so two workers could read, and take, the same trial.
    """
    driver = connection.connection.dbapi_connection
    assert driver is not None
    driver.isolation_level = None
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _unusable(storage: str, error: Exception) -> str:
    scheme = storage.split("://", maxsplit=1)[0]
    return (
        f"The {scheme} storage cannot be opened ({type(error).__name__}: {str(error).splitlines()[0]}); expected a "
        "database URL such as sqlite:////absolute/path.db or postgresql://user@host/name with its driver installed."
    )


def open_study(storage: BaseStorage, name: str, goal: Goal, starts: Sequence[Mapping[str, float]], seed: int) -> Study:
    """Return the study of a name; a new one begins with the starting points.

    Args:
        storage: from :func:`open_storage`.
        name: equal for what may share trials.
        goal: one objective or two.
        starts: evaluated first; as many random proposals would otherwise come before the Gaussian process.
        seed: of this worker's proposals.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = GPSampler(seed=seed, n_startup_trials=len(starts), warn_independent_sampling=False)
    directions = [StudyDirection.MINIMIZE] * (2 if goal.pareto else 1)
    study = optuna.create_study(
        storage=storage, study_name=name, sampler=sampler, directions=directions, load_if_exists=True
    )
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        for point in starts:
            study.enqueue_trial(dict(point), skip_if_exists=True)
    return study


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A finished trial that was measured."""

    number: int
    point: Mapping[str, float]
    objective: float
    kept_fraction: float


def evaluated_trials(study: Study) -> list[Evaluated]:
    """Return what was measured so far, by any worker, in the order it was proposed."""
    return [
        Evaluated(t.number, t.params, t.user_attrs[OBJECTIVE], t.user_attrs["kept_fraction"])
        for t in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if OBJECTIVE in t.user_attrs
    ]


def run_trials(
    study: Study,
    space: SearchSpace,
    goal: Goal,
    evaluate: Callable[[Mapping[str, float], int], float],
    n_trials: int,
    idle: Callable[[], None],
) -> None:
    """Propose and measure points until ``n_trials`` of the study are measured, by all workers together.

    What a dead worker was measuring is measured by another one.

    A point outside the goal's sizes is not measured: the sampler is told how far outside it lies, and as its value
    that of the nearest measured point, so that only the constraint speaks.

    Args:
        study: from :func:`open_study`.
        space: of the model.
        goal: which sizes are measured.
        evaluate: (point, trial number) -> objective > 0; a NumericalError fails the trial.
        n_trials: measured trials in all.
        idle: called now and then while all that is left is being measured by others.

    Raises:
        InfeasibleBudgetError: nearly every proposal is infeasible or fails.
    """
    distributions = {v.name: FloatDistribution(LOWEST, 1.0) for v in space.variables}
    shares, proposals = Shares(study, frozenset(distributions)), 0
    while len(measured := evaluated_trials(study)) < n_trials:
        shares.requeue_dead()
        if shares.n_taken() >= n_trials:
            idle()
            time.sleep(LOOK_EVERY_S)
            continue
        proposals += 1
        if proposals > _PROPOSALS_PER_TRIAL * n_trials:
            raise InfeasibleBudgetError(
                f"{proposals - 1} proposals gave fewer than {n_trials} measured trials; those measured are kept. Give "
                "another target or a smaller --rank-step."
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = study.ask()
        shares.own(trial)
        point = {name: trial.suggest_float(name, d.low, d.high) for name, d in distributions.items()}
        kept = space.kept_fraction(point)
        for name, violation in goal.constraints(kept).items():
            trial.set_constraint(name, violation)
        objective = None
        if not goal.allows(kept):
            objective = _nearest(measured, point)
        elif shares.claim(trial, n_trials):
            with shares.measuring(trial), contextlib.suppress(NumericalError):
                objective = evaluate(point, trial.number)
        # A worker that was not heard of for too long, as on a machine that slept, finds its trial given to another one.
        with contextlib.suppress(UpdateFinishedTrialError):
            if objective is None:
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
                continue
            if goal.allows(kept):
                trial.set_user_attr("kept_fraction", kept)
                trial.set_user_attr(OBJECTIVE, objective)
            values = [math.log(objective), kept] if goal.pareto else math.log(objective)
            study.tell(trial, values, skip_if_finished=True)


def _nearest(measured: Sequence[Evaluated], point: Mapping[str, float]) -> float | None:
    """Return the objective of the measured point that is nearest; ``None`` before anything is measured."""
    nearest = min(measured, key=lambda e: math.dist(e.point.values(), [point[n] for n in e.point]), default=None)
    return None if nearest is None else nearest.objective


def best_of(trials: Sequence[Evaluated], high: float) -> Evaluated | None:
    """Return the measured trial with the least objective that keeps at most ``high``, or ``None``."""
    fitting = [t for t in trials if t.kept_fraction <= high]
    return min(fitting, key=lambda t: t.objective) if fitting else None


def pareto_set(trials: Sequence[Evaluated]) -> list[Evaluated]:
    """Return the measured trials that no other beats in both objective and size, smallest first."""
    points = [(trial.kept_fraction, trial.objective) for trial in trials]
    front: dict[tuple[float, float], Evaluated] = {}
    for trial, point, is_best in zip(trials, points, pareto_front(points), strict=True):
        if is_best:
            front.setdefault(point, trial)
    return [front[point] for point in sorted(front)]
