"""``python -m tests.engine.search.worker STORAGE N_TRIALS SECONDS_PER_TRIAL SEED``: a worker.

Its objective is synthetic.

Prints a line for every trial it begins, then one when it is done.
"""

from __future__ import annotations

import math
import sys
import time

from engine.search.goals import Goal, starting_points
from engine.search.space import SearchSpace, SpaceSpec
from engine.search.study import open_storage, open_study, run_trials
from tests.engine.search.test_space import inventory

GOAL = Goal.at(0.8)
SPACE = SearchSpace.of(inventory(4, 128, 256, 64), SpaceSpec(rank_step=1))


def bowl(point: dict[str, float]) -> float:
    """Least where every fraction is 0.8."""
    return math.exp(sum((fraction - 0.8) ** 2 for fraction in point.values()))


def main(storage: str, n_trials: str, seconds: str, seed: str) -> None:
    """Work on the study ``shared``."""

    def evaluate(point: dict[str, float], number: int) -> float:
        print(f"begin {number}", flush=True)
        time.sleep(float(seconds))
        return bowl(point)

    starts = starting_points(SPACE, GOAL, {0.8: []}, 3, 0)
    study = open_study(open_storage(storage), "shared", GOAL, starts, int(seed))
    run_trials(study, SPACE, GOAL, evaluate, int(n_trials), lambda: None)
    print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
