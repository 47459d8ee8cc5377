"""A worker in a process of its own, whose objective is synthetic."""

from __future__ import annotations

import math
import multiprocessing
import os
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


class Worker:
    """Works on the study ``shared``; forked, so that it imports nothing anew.

    Attributes:
        says: a line for every trial that it begins, then one when it is done.
        process: works.
    """

    def __init__(self, storage: str, n_trials: int, seconds: float, seed: int) -> None:
        heard, said = os.pipe()
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_work, args=(said, storage, n_trials, seconds, seed))
        self.process.start()
        os.close(said)
        self.says = os.fdopen(heard, encoding="utf-8")

    def lines(self) -> list[str]:
        """Return what it says until it ends, which has to be well."""
        with self.says:
            lines = self.says.read().splitlines()
        self.process.join(30)
        assert self.process.exitcode == 0
        return lines

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.join(30)
        self.says.close()


def _work(said: int, storage: str, n_trials: int, seconds: float, seed: int) -> None:
    def evaluate(point: dict[str, float], number: int) -> float:
        os.write(said, f"begin {number}\n".encode())
        time.sleep(seconds)
        return bowl(point)

    starts = starting_points(SPACE, GOAL, {0.8: []}, 3, 0)
    study = open_study(open_storage(storage), "shared", GOAL, starts, seed)
    run_trials(study, SPACE, GOAL, evaluate, n_trials, lambda: None)
    os.write(said, b"done\n")
