"""A frontier with locks made from one with other locks is the same."""

from __future__ import annotations

import numpy as np
import pytest

from engine.allocation import build_frontier
from tests.support.strategies import EVERY, toy_locks, toy_model


@pytest.mark.parametrize("share_locked_before", [0.0, 0.3])
@pytest.mark.parametrize("seed", range(40))
def test_hulls_are_used_again_where_locks_stay_the_same(seed: int, share_locked_before: float) -> None:
    model = toy_model(seed, 6, 12, None, mlps=True)
    locks = toy_locks(model, seed, 0.3)
    formats = frozenset(EVERY)
    before = build_frontier(model.groups, formats=formats, locks=toy_locks(model, seed + 1, share_locked_before))
    fresh = build_frontier(model.groups, formats=formats, locks=locks)
    reused = before.around(locks)
    assert np.array_equal(fresh.costs, reused.costs)
    for share in (0.3, 0.6, 0.9):
        budget = model.budget(max(int(share * model.total), int(fresh.costs[0])))
        assert fresh.allocate(budget) == reused.allocate(budget)
