"""How the workers of a study share its trials: so many in all, each measured once, and none lost with its worker.

A worker claims a trial before it measures it: it notes the claim, then counts all there are. Of workers that claim at
once, the last to note it sees the claims of all others, so that never more stand than trials are wanted.
"""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from cache.processes import ProcessId, is_alive, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

OBJECTIVE: Final = "objective"
"""Trial attribute that only evaluated trials have."""

BEAT_S: Final = 20.0
"""So often a worker shows that it still measures."""

SILENCE_S: Final = 120.0
"""A worker of another machine that shows nothing for this long is dead."""

_OWNER: Final = "owner"
_CLAIMED: Final = "claimed"
_BEAT: Final = "beat"
_FIXED: Final = "fixed_params"
_STANDING: Final = (TrialState.RUNNING, TrialState.COMPLETE)
_UNOWNED_IS_DEAD_S: Final = 60.0
_STEP_ASIDE_S: Final = 0.5


class Shares:
    """One worker's view of who measures what.

    Args:
        study: that is shared.
        variables: names of all variables of a point.
        silence_s: after which a worker of another machine counts as dead, by the clock of this one.
    """

    def __init__(self, study: Study, variables: frozenset[str], silence_s: float = SILENCE_S) -> None:
        self._study = study
        self._variables = variables
        self._silence_s = silence_s
        self._beats: dict[int, tuple[object, float]] = {}

    def n_taken(self) -> int:
        """Return how many trials have been measured or are being measured, by any worker."""
        return sum(
            bool(trial.user_attrs.get(OBJECTIVE if trial.state is TrialState.COMPLETE else _CLAIMED))
            for trial in self._trials(*_STANDING)
        )

    def own(self, trial: Trial) -> None:
        """Note that this process works on a trial."""
        me = this_process()
        trial.set_user_attr(_OWNER, {"host": socket.gethostname(), "pid": me.pid, "started": me.started})

    def claim(self, trial: Trial, n_trials: int) -> bool:
        """Take one of ``n_trials`` for measuring a point; False where others have them all, or had the point before.

        The point of a trial that cannot be measured now is queued again.
        """
        if self._was_queued_before(trial.number):
            self._end(trial.number)
            return False
        trial.set_user_attr(_CLAIMED, value=True)
        if self.n_taken() <= n_trials:
            return True
        self._put_back(trial.number, trial.params)
        time.sleep(random.uniform(0, _STEP_ASIDE_S))  # noqa: S311 - so that two workers do not meet again
        return False

    @contextmanager
    def measuring(self, trial: Trial) -> Iterator[None]:
        """Show other machines meanwhile that this worker lives."""
        is_over = threading.Event()

        def beat() -> None:
            n_beats = 0
            while not is_over.wait(BEAT_S):
                n_beats += 1
                try:
                    trial.set_user_attr(_BEAT, n_beats)
                except UpdateFinishedTrialError:
                    return

        heart = threading.Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            is_over.set()
            heart.join()

    def requeue_dead(self) -> None:
        """Fail the trials of dead workers, and queue their points again; of several who try, one does."""
        for trial in self._trials(TrialState.RUNNING):
            if self._is_dead(trial):
                self._put_back(trial.number, trial.system_attrs.get(_FIXED) or trial.params)

    def _put_back(self, number: int, point: Mapping[str, Any]) -> None:
        if self._end(number) and point.keys() == self._variables:
            self._study.enqueue_trial(dict(point))

    def _end(self, number: int) -> bool:
        """Fail a trial; False where another has ended it."""
        try:
            self._study.tell(number, state=TrialState.FAIL)
        except (ValueError, UpdateFinishedTrialError):
            return False
        return True

    def _was_queued_before(self, number: int) -> bool:
        """Whether the point of a queued trial stands in an earlier one: workers that begin together queue it twice."""
        trials = {trial.number: trial for trial in self._trials(TrialState.WAITING, *_STANDING)}
        point = trials[number].system_attrs.get(_FIXED) if number in trials else None
        return point is not None and any(
            earlier < number and (trial.system_attrs.get(_FIXED) or trial.params) == point
            for earlier, trial in trials.items()
        )

    def _is_dead(self, trial: FrozenTrial) -> bool:
        """Whether no process works on a running trial any more."""
        owner = trial.user_attrs.get(_OWNER)
        if owner is None:
            age = datetime.now() - (trial.datetime_start or datetime.now())
            return age.total_seconds() > _UNOWNED_IS_DEAD_S
        if owner["host"] == socket.gethostname():
            return not is_alive(ProcessId(owner["pid"], owner["started"]))
        beat, now = trial.user_attrs.get(_BEAT), time.monotonic()
        last, since = self._beats.setdefault(trial.number, (beat, now))
        if last != beat:
            self._beats[trial.number] = (beat, now)
            return False
        return now - since > self._silence_s

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states)
