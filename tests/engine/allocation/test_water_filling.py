"""Water-filling against brute force, and against a literal reading of how a port would do it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import allocate_by_water_filling, build_frontier
from engine.allocation._blocks import Block
from engine.allocation._hull import hull_of_block, lower_hull
from engine.errors import InfeasibleBudgetError, NumericalError
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves
from tests.engine.allocation.test_contract import MIXES
from tests.support.examples import examples
from tests.support.strategies import (
    EVERY,
    assert_keeps_the_contract,
    optimum,
    seeds,
    toy_locks,
    toy_model,
    toy_models,
)

ALL = frozenset(EVERY)
mixes = st.sampled_from([*MIXES, ALL, ALL, ALL])
EPS = 1e-12


@examples(700)
@given(
    model=toy_models(n_groups=3, largest=5, mlps=True, experts=True),
    formats=mixes,
    lock_seed=seeds,
    locked=st.sampled_from((0.0, 0.0, 0.4)),
    rank_step=st.sampled_from((1, 1, 2)),
)
def test_equals_brute_force_at_hull_budgets_and_is_within_a_step_elsewhere(
    model, formats, lock_seed, locked, rank_step
):
    locks = toy_locks(model, lock_seed, locked)
    best = optimum(model, formats, locks, rank_step)
    frontier = build_frontier(model.groups, formats=formats, locks=locks, rank_step=rank_step)
    assert not np.isfinite(best[: frontier.costs[0]]).any()
    hull = set(frontier.costs.tolist())
    largest_step = max([0.0, *(-np.diff(frontier.nats))])
    for params in range(int(frontier.costs[0]), len(best)):
        found = frontier.allocate(model.budget(params))
        assert found.params <= params
        assert found.nats >= best[params] - EPS
        assert found.nats <= best[params] + largest_step + EPS
        if params in hull:
            assert found.nats == pytest.approx(best[params], abs=EPS)
    assert frontier.nats[-1] == pytest.approx(best[-1], abs=EPS)


@examples(150)
@given(model=toy_models(n_groups=3, largest=40, mlps=True), formats=mixes, lock_seed=seeds)
def test_a_larger_hull_budget_is_never_worse_and_hull_budgets_are_spent_fully(model, formats, lock_seed):
    frontier = build_frontier(model.groups, formats=formats, locks=toy_locks(model, lock_seed, 0.2))
    assert (np.diff(frontier.costs) > 0).all()
    found = [frontier.allocate(model.budget(params)) for params in frontier.costs.tolist()]
    assert [a.params for a in found] == frontier.costs.tolist()
    nats = np.array([a.nats for a in found])
    assert (np.diff(nats) <= EPS).all()
    np.testing.assert_allclose(nats, frontier.nats, atol=1e-9)


@examples(150)
@given(model=toy_models(largest=12, mlps=True), few=mixes, more=mixes, lock_seed=seeds)
def test_restricting_formats_is_never_better_at_hull_budgets(model, few, more, lock_seed):
    locks = toy_locks(model, lock_seed, 0.2)
    free = build_frontier(model.groups, formats=few | more, locks=locks)
    restricted = build_frontier(model.groups, formats=few, locks=locks)
    for params in free.costs[free.costs >= restricted.costs[0]].tolist():
        budget = model.budget(params)
        assert restricted.allocate(budget).nats >= free.allocate(budget).nats - EPS


def port(frontier, params):
    """Allocate as the documentation of ``Frontier`` tells a port to: no heap, no search, no numpy."""
    edges = []
    for unit, hull in enumerate(frontier.hulls):
        costs, nats = hull.costs.tolist(), hull.nats.tolist()
        for i in range(len(costs) - 1):
            slope = (nats[i + 1] - nats[i]) / (costs[i + 1] - costs[i])
            edges.append((slope, unit, i, costs[i + 1] - costs[i]))
    edges.sort()
    left = params - sum(int(hull.costs[0]) for hull in frontier.hulls)
    vertices = [0] * len(frontier.hulls)
    n_taken = 0
    for _, unit, i, extra in edges:
        if extra > left:
            break
        assert vertices[unit] == i
        vertices[unit], left, n_taken = i + 1, left - extra, n_taken + 1
    for _, unit, i, extra in edges[n_taken:]:
        if vertices[unit] == i and extra <= left:
            vertices[unit], left = i + 1, left - extra
    return [d for hull, v in zip(frontier.hulls, vertices, strict=True) for d in hull.decisions(v)]


@examples(300)
@given(model=toy_models(n_groups=5, largest=9, mlps=True), formats=mixes, lock_seed=seeds, kept=st.floats(0, 1))
def test_a_port_that_keeps_to_the_documentation_agrees_exactly(model, formats, lock_seed, kept):
    locks = toy_locks(model, lock_seed, 0.2)
    frontier = build_frontier(model.groups, formats=formats, locks=locks)
    floor, dearest = int(frontier.costs[0]), int(frontier.costs[-1])
    params = floor + int(kept * (dearest - floor))
    order = [curve.name for curve in model.curves]
    decided = [b for block, rank in port(frontier, params) for b in block.decide(rank)]
    decided.sort(key=lambda block: order.index(block.members[0]))
    found = allocate_by_water_filling(model.groups, model.budget(params), formats=formats, locks=locks)
    assert list(found.blocks) == decided
    assert_keeps_the_contract(found, model, model.budget(params), formats, locks)


def monotone_chain(costs, nats):
    """Return the strict lower hull's points by Andrew's algorithm, one at a time."""
    lowest = np.inf
    hull = []
    for x, y in sorted(zip(costs, nats, strict=True)):
        if y >= lowest:
            continue
        lowest = y
        while len(hull) > 1 and (hull[-1][1] - hull[-2][1]) * (x - hull[-2][0]) >= (y - hull[-2][1]) * (
            hull[-1][0] - hull[-2][0]
        ):
            hull.pop()
        hull.append((x, y))
    return hull


@examples(1000)
@given(
    seed=seeds,
    n=st.integers(1, 300),
    levels=st.sampled_from((2, 5, 50, None)),
    power=st.sampled_from((0, 1, 3)),
)
def test_lower_hull_agrees_with_a_monotone_chain(seed, n, levels, power):
    rng = np.random.default_rng(seed)
    costs = rng.integers(1, 2 * n + 1, n)
    nats = rng.random(n) if levels is None else rng.integers(0, levels, n).astype(float)
    nats = (nats + 1) / costs**power if power else nats
    kept = lower_hull(costs, nats)
    strict = monotone_chain(costs.tolist(), nats.tolist())
    found = list(zip(costs[kept].tolist(), nats[kept].tolist(), strict=True))
    assert set(strict) <= set(found)
    # Whatever else was kept lies on the hull.
    x, y = np.array(strict).T
    np.testing.assert_allclose(nats[kept], np.interp(costs[kept], x, y), rtol=1e-12)
    assert (np.diff(costs[kept]) > 0).all()
    assert (np.diff(nats[kept]) < 0).all()


def test_the_last_ranks_before_dense_are_cut_off_at_once():
    """Low-rank reaches the price of dense at half the rank: the hull must leave the curve well before."""
    side = 2048
    nats = np.append(np.cumsum(np.linspace(0, 1, side) ** 2)[::-1], 0.0)
    curve = DistortionCurve(("p",), side, side, nats, 1.0)
    hull = hull_of_block(Block.open(curve, Format.LOW_RANK, 1))
    assert hull.ranks[-1] == 0
    x, y = np.array(monotone_chain(*points_with_dense(curve))).T
    assert hull.costs.tolist() == x.tolist()
    np.testing.assert_allclose(hull.nats, y)


@pytest.mark.parametrize(
    ("sides", "rank_step", "step"),
    [((63, 200), 1, 1), ((64, 200), 1, 2), ((576, 1536), 1, 16), ((4096, 4096), 1, 32), ((576, 576), 3, 48)],
)
def test_ranks_are_multiples_of_what_arithmetic_units_work_in(sides, rank_step, step):
    side = min(sides)
    curve = DistortionCurve(("p",), *sides, np.linspace(1, 0, side + 1) ** 2, 1.0)
    group = [GroupCurves((curve,), None)]
    frontier = build_frontier(group, formats=frozenset({Format.SKIP}), rank_step=rank_step)
    ranks = np.unique(np.abs(frontier.hulls[0].ranks))
    assert np.gcd.reduce(ranks) == step
    held = frontier.around([BlockRank(("p",), Format.SKIP, 7)])
    assert held.allocate(Budget(curve.dense_params, curve.dense_params)).blocks[0].rank == 7


def points_with_dense(curve):
    ranks = np.arange(1, (curve.dense_params - 1) // (2 * curve.in_features) + 1)
    costs = [*(ranks * 2 * curve.in_features).tolist(), curve.dense_params]
    return costs, [*curve.nats[ranks].tolist(), 0.0]


def test_shared_storage_is_chosen_where_it_pays_and_left_where_it_does_not():
    def curve(names, nats):
        return DistortionCurve(names, 10, 10 * len(names), np.array(nats, dtype=float), 1.0)

    falling = [4.0, 1.0, *[0.5] * 9]
    pair = (curve(("q",), falling), curve(("k",), falling))
    for shared, expected in (([8, 2.0, *[1.0] * 9], Format.CAT), ([8, 7.9, *[7.8] * 9], Format.LOW_RANK)):
        groups = [GroupCurves(pair, curve(("q", "k"), shared))]
        found = allocate_by_water_filling(groups, Budget(60, 200), formats=frozenset({Format.CAT, Format.LOW_RANK}))
        assert found.blocks[0].format is expected


def test_leftover_goes_to_the_next_group_whose_edge_fits():
    def group(name, n, nats):
        return GroupCurves((DistortionCurve((name,), n, n, np.array(nats, dtype=float), 1.0),), None)

    # `big` is next by slope (20 parameters for 10 nats) but does not fit; `small` (10 for 1.5 nats) does.
    groups = [group("big", 10, [20, 10, 0, *[0] * 8]), group("small", 5, [5, 2, 0.5, *[0.5] * 3])]
    found = allocate_by_water_filling(groups, Budget(43, 125), formats=frozenset({Format.LOW_RANK}))
    assert [b.rank for b in found.blocks] == [1, 2]
    assert found.params == 40


def test_without_factored_formats_everything_is_dense():
    model = toy_model(1, 3, 6, "random")
    found = allocate_by_water_filling(model.groups, model.budget(model.total), formats=frozenset())
    assert {b.format for b in found.blocks} == {Format.DENSE}
    with pytest.raises(InfeasibleBudgetError):
        allocate_by_water_filling(model.groups, model.budget(model.total - 1), formats=frozenset())


def test_a_curve_that_is_not_finite_is_named():
    curve = DistortionCurve(("layers.0.p0",), 4, 4, np.array([np.nan, 1.0, 0.5, 0.2, 0.0]), 1.0)
    with pytest.raises(NumericalError, match=r"layers\.0\.p0 is not finite"):
        build_frontier([GroupCurves((curve,), None)], formats=ALL)


def test_a_group_locked_dense_is_dense_member_by_member():
    model = toy_model(6, 2, 6, "random")
    group = next(g for g in model.groups if g.shared is not None and len(g.separate) > 1)
    assert group.shared is not None
    lock = BlockRank(group.shared.members, Format.DENSE, None)
    found = allocate_by_water_filling(model.groups, model.budget(model.total), formats=ALL, locks=[lock])
    assert {BlockRank((name,), Format.DENSE, None) for name in group.shared.members} <= set(found.blocks)
