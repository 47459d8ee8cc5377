"""FLRC: proportional ranks, caps, floors, rounding and the remainder."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import allocate_by_importance
from engine.errors import InfeasibleBudgetError, InvalidSpecError, NumericalError
from engine.formats import rank_params
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves
from tests.support.examples import examples
from tests.support.strategies import FACTORED, toy_models

LOW_RANK = frozenset({Format.LOW_RANK})


def blocks(*importances: float, side: int = 100) -> list[GroupCurves]:
    return [
        GroupCurves((DistortionCurve((f"p{i}",), side, side, np.zeros(side + 1), alpha),), None)
        for i, alpha in enumerate(importances)
    ]


def ranks(groups: list[GroupCurves], params: int, formats=LOW_RANK, **settings) -> list[int | None]:
    total = sum(group.dense_params for group in groups)
    found = allocate_by_importance(groups, Budget(params, total), formats=formats, **settings)
    return [block.rank for block in found.blocks]


def test_ranks_are_proportional_to_importance():
    assert ranks(blocks(1, 2, 4), 70 * 200) == [10, 20, 40]


def test_the_exponent_bends_the_proportion():
    assert ranks(blocks(1, 4, 16), 70 * 200, gamma=0.5) == [10, 20, 40]
    assert ranks(blocks(1, 4, 16), 60 * 200, gamma=0) == [20, 20, 20]


def test_only_ratios_of_importances_matter():
    assert ranks(blocks(1e-300, 2e-300, 4e-300), 70 * 200) == [10, 20, 40]
    assert ranks(blocks(1e300, 2e300, 4e300), 70 * 200, gamma=1) == [10, 20, 40]


def test_a_block_over_the_useful_maximum_is_dense_and_the_rest_is_shared_again():
    # Without the cap the ranks were 9, 18 and 72; dense costs as much as rank 50.
    assert ranks(blocks(1, 2, 8), 80 * 200) == [10, 20, None]


def test_a_block_under_the_floor_takes_the_floor_and_the_rest_pays():
    assert ranks(blocks(1, 20, 40), 61 * 200, min_rank=7) == [7, 18, 36]


def test_ranks_are_multiples_of_the_step_and_the_remainder_goes_by_fractional_part():
    # Proportional: 9, 18, 36; rounded down: 8, 16, 32, fractions 1/8, 2/8, 4/8; 7 ranks are left.
    assert ranks(blocks(1, 2, 4), 63 * 200, rank_step=8) == [8, 16, 32]
    assert ranks(blocks(1, 2, 4), 64 * 200, rank_step=8) == [8, 16, 40]
    # Proportional: 9.857, 19.714, 39.43.
    assert ranks(blocks(1, 2, 4), 69 * 200) == [10, 20, 39]


def test_a_step_that_does_not_fit_is_skipped_for_one_that_does():
    wide = GroupCurves((DistortionCurve(("wide",), 100, 1000, np.zeros(101), 1.9),), None)
    found = ranks([wide, *blocks(1.0)], 1100 * 19 + 200 * 10 + 700)
    assert found == [19, 11]


def test_importances_of_zero_take_what_the_others_cannot_use():
    assert ranks(blocks(0, 0, 0), 60 * 200) == [20, 20, 20]
    assert ranks(blocks(0, 1, 1), 61 * 200) == [1, 30, 30]
    assert ranks(blocks(0, 1, 1), 130 * 200) == [30, None, None]


def test_shared_formats_use_the_importance_of_the_group():
    def curve(names: tuple[str, ...], alpha: float) -> DistortionCurve:
        return DistortionCurve(names, 100, 100 * len(names), np.zeros(101), alpha)

    pair = GroupCurves((curve(("q",), 1), curve(("k",), 2)), curve(("q", "k"), 3))
    alone = blocks(1.5)
    assert ranks([pair, *alone], 300 * 40 + 200 * 20, frozenset({Format.CAT})) == [40, 20]


def test_locks_are_paid_first():
    lock = BlockRank(("p1",), Format.SKIP, 60)
    assert ranks(blocks(1, 50, 3), 60 * 140 + 40 * 200, locks=[lock]) == [10, 60, 30]


@pytest.mark.parametrize("alpha", [math.nan, math.inf, -1.0])
def test_an_importance_that_is_no_number_is_named(alpha):
    with pytest.raises(NumericalError, match=f"importance of p1 is {alpha}"):
        ranks(blocks(1, alpha), 9_000)


@pytest.mark.parametrize("setting", [{"gamma": -1.0}, {"gamma": math.nan}, {"min_rank": 0}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(InvalidSpecError, match=f"{next(iter(setting))} was given as"):
        ranks(blocks(1, 2), 9_000, **setting)


@examples(400)
@given(
    model=toy_models(largest=20, truncated=False),
    storage=st.sampled_from(FACTORED),
    kept=st.floats(0, 0.99),
    min_rank=st.integers(1, 3),
    rank_step=st.integers(1, 3),
)
def test_less_is_left_than_the_dearest_next_step(model, storage, kept, min_rank, rank_step):
    budget = model.budget(int(kept * model.total))
    setting = {"min_rank": min_rank, "rank_step": rank_step}
    try:
        found = allocate_by_importance(model.groups, budget, formats=frozenset({storage}), **setting)
    except InfeasibleBudgetError:
        return
    assert all(b.rank is None or b.rank >= min_rank for b in found.blocks)
    steps = []
    for block in found.blocks:
        if block.rank is not None:
            curve = model.curve(block)
            sides = (curve.in_features, curve.out_features)
            # A step below the rank costs at least as much in the skip formats, whose cost is concave.
            low = max(block.rank - rank_step, 0)
            costs = [rank_params(block.format, r, *sides) for r in (low, low + rank_step)]
            steps.append(costs[1] - costs[0])
    if steps:
        assert budget.params - found.params < max(steps)


def reference(weights, sides, dense, floor, budget):
    """Low-rank shares by repeated re-sharing: fix the kind of bound exceeded by more, solve again."""
    share = np.full(len(weights), np.nan)
    while np.isnan(share).any():
        free = np.isnan(share)
        constant = (budget - np.nansum(share)) / (weights * sides)[free].sum()
        wanted = constant * weights * sides
        over, under = free & (wanted >= dense), free & (wanted < floor * sides)
        if (wanted - dense)[over].sum() >= (floor * sides - wanted)[under].sum() and over.any():
            share[over] = dense[over]
        elif under.any():
            share[under] = (floor * sides)[under]
        else:
            share[free] = wanted[free]
    return [None if s >= d else s / side for s, d, side in zip(share, dense, sides, strict=True)]


@pytest.mark.parametrize("seed", range(100))
def test_agrees_with_repeated_re_sharing(seed):
    rng = np.random.default_rng(seed)
    sides = rng.integers(20, 80, (30, 2))
    alphas = rng.lognormal(0, 1.5, 30)
    groups = [
        GroupCurves((DistortionCurve((f"p{i}",), int(a), int(b), np.zeros(min(a, b) + 1), alpha),), None)
        for i, ((a, b), alpha) in enumerate(zip(sides, alphas, strict=True))
    ]
    dense, total = sides.prod(axis=1), sides.sum(axis=1)
    budget = int(rng.uniform(0.2, 0.9) * dense.sum())
    expected = reference(alphas / alphas.max(), total, dense.astype(float), 2.0, budget)
    found = ranks(groups, budget, min_rank=2)
    for rank, real in zip(found, expected, strict=True):
        if real is None:
            assert rank is None
        elif rank is not None:
            assert math.floor(real + 1e-9) <= rank <= math.floor(real + 1e-9) + 1
        else:  # the remainder took it from its highest useful rank to dense
            assert real > 0
