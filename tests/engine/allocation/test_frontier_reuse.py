"""A frontier with locks made from the one without is the same."""

from __future__ import annotations

import numpy as np
import pytest

from engine.allocation import build_frontier
from tests.support.strategies import FACTORED, toy_locks, toy_model


@pytest.mark.parametrize("seed", range(40))
def test_hulls_are_used_again_where_nothing_is_locked(seed: int) -> None:
    model = toy_model(seed, 6, 12, None)
    locks = toy_locks(model, seed, 0.3)
    formats = frozenset(FACTORED)
    free = build_frontier(model.groups, formats=formats)
    fresh = build_frontier(model.groups, formats=formats, locks=locks)
    reused = build_frontier(model.groups, formats=formats, locks=locks, unlocked=free)
    assert np.array_equal(fresh.costs, reused.costs)
    for share in (0.3, 0.6, 0.9):
        budget = model.budget(max(int(share * model.total), int(fresh.costs[0])))
        assert fresh.allocate(budget) == reused.allocate(budget)
