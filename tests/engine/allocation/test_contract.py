"""What every allocator promises, checked for each that is registered."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import allocators
from engine.errors import InfeasibleBudgetError, InvalidRankMapError, InvalidSpecError
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves
from tests.support.examples import examples
from tests.support.strategies import (
    EVERY,
    FACTORED,
    ToyModel,
    assert_keeps_the_contract,
    floor_params,
    seeds,
    toy_locks,
    toy_model,
    toy_models,
)

every_allocator = pytest.mark.parametrize("method", allocators.names())
MIXES = [frozenset(f for f, bit in zip(EVERY, (1, 2, 4, 8, 16), strict=True) if n & bit) for n in range(1, 32)]


def usable(method: str, formats: frozenset[Format], model: ToyModel | None = None) -> frozenset[Format]:
    """Return formats the method accepts: one of them unless it mixes, width only where there is one."""
    if method == "water-filling":
        return formats
    has_widths = method == "uniform" and model is not None and bool(model.widths)
    if has_widths and Format.WIDTH in formats and len(formats) % 2:
        return frozenset({Format.WIDTH})
    return frozenset(sorted(formats - {Format.WIDTH})[:1] or [Format.LOW_RANK])


def allocate(method: str, *args: object, **settings: object):
    return allocators.get(method)(*args, **settings)  # type: ignore[arg-type]


@every_allocator
@examples(1200)
@given(
    model=toy_models(mlps=True, experts=True),
    mix=st.sampled_from(MIXES),
    lock_seed=seeds,
    locked=st.sampled_from((0.0, 0.0, 0.4, 1.0)),
    kept=st.floats(0, 1.05),
    rank_step=st.sampled_from((1, 1, 2, 3)),
)
def test_keeps_the_contract_or_says_that_nothing_fits(method, model, mix, lock_seed, locked, kept, rank_step):
    formats = usable(method, mix, model)
    locks = toy_locks(model, lock_seed, locked)
    budget = model.budget(int(kept * model.total))
    floor = floor_params(model, formats, locks, rank_step, force=method != "water-filling")
    if floor > budget.params:
        with pytest.raises(InfeasibleBudgetError):
            allocate(method, model.groups, budget, formats=formats, locks=locks, rank_step=rank_step)
    else:
        found = allocate(method, model.groups, budget, formats=formats, locks=locks, rank_step=rank_step)
        assert_keeps_the_contract(found, model, budget, formats, locks)
        locked_names = {name for lock in locks for name in lock.members}
        free = [b for b in found.blocks if b.rank is not None and b.members[0] not in locked_names]
        assert all(block.rank % rank_step == 0 for block in free)


@every_allocator
@examples(300)
@given(model=toy_models(largest=30, mlps=True, experts=True), mix=st.sampled_from(MIXES), lock_seed=seeds)
def test_the_smallest_feasible_kept_fraction_in_the_message_is_feasible(method, model, mix, lock_seed):
    formats, locks = usable(method, mix, model), toy_locks(model, lock_seed, 0.3)
    floor = floor_params(model, formats, locks, 1, force=method != "water-filling")
    with pytest.raises(InfeasibleBudgetError) as error:
        allocate(method, model.groups, model.budget(floor - 1), formats=formats, locks=locks)
    if floor > model.total:
        assert "more than the dense projections; release held ranks" in str(error.value)
    else:
        named = re.search(r"at least ([0-9]\.[0-9]{4})", str(error.value))
        assert named is not None
        budget = Budget.of_kept_fraction(float(named[1]), model.total)
        found = allocate(method, model.groups, budget, formats=formats, locks=locks)
        assert_keeps_the_contract(found, model, budget, formats, locks)
        assert Budget.of_kept_fraction(max(float(named[1]) - 2e-4, 1e-9), model.total).params < floor


@every_allocator
@examples(150)
@given(seed=seeds, storage=st.sampled_from(FACTORED), kept=st.floats(0.3, 1))
def test_the_order_of_groups_does_not_matter(method, seed, storage, kept):
    model = toy_model(seed, 5, 12, "random", mlps=seed % 2 == 1)
    order = np.random.default_rng(seed).permutation(len(model.groups))
    budget, formats = model.budget(int(kept * model.total)), frozenset({storage})
    try:
        one = allocate(method, model.groups, budget, formats=formats)
    except InfeasibleBudgetError:
        return
    other = allocate(method, [model.groups[i] for i in order], budget, formats=formats)
    assert sorted(one.blocks, key=lambda b: b.name) == sorted(other.blocks, key=lambda b: b.name)
    assert (one.params, one.nats) == (other.params, other.nats)


@every_allocator
@pytest.mark.parametrize("storage", FACTORED)
def test_a_budget_for_everything_keeps_everything(method, storage):
    model = toy_model(3, 4, 9, "never-zero")
    found = allocate(method, model.groups, model.budget(model.total), formats=frozenset({storage}))
    assert {block.format for block in found.blocks} == {Format.DENSE}
    assert (found.params, found.nats) == (model.total, 0.0)


@every_allocator
@pytest.mark.parametrize("storage", FACTORED)
def test_layers_too_thin_to_factorise_stay_dense(method, storage):
    """A rank-1 factor of a 1 x n matrix costs more than the matrix: found by an earlier greedy allocator."""
    thin = GroupCurves((DistortionCurve(("thin",), 1, 7, np.array([1.0, 0.0]), 1.0),), None)
    wide = GroupCurves((DistortionCurve(("wide",), 20, 20, 0.5 ** np.arange(21), 1.0),), None)
    found = allocate(method, [thin, wide], Budget(207, 407), formats=frozenset({storage}))
    assert found.blocks[0] == BlockRank(("thin",), Format.DENSE, None)
    assert found.blocks[1].rank == 5


@every_allocator
def test_a_lock_takes_its_group_out_of_sharing(method):
    model = two_members()
    lock = BlockRank(("k",), Format.SKIP, 3)
    found = allocate(method, model, Budget(150, 200), formats=frozenset({Format.SKIP_CAT}), locks=[lock])
    assert found.blocks[1] == lock
    assert found.blocks[0].members == ("q",)
    assert found.blocks[0].format is Format.SKIP


def two_members() -> list[GroupCurves]:
    def curve(*names: str) -> DistortionCurve:
        return DistortionCurve(names, 10, 10 * len(names), np.linspace(1, 0, 11), 1.0)

    return [GroupCurves((curve("q"), curve("k")), curve("q", "k"))]


@every_allocator
@pytest.mark.parametrize(
    ("locks", "sentence"),
    [
        ([BlockRank(("qq",), Format.SKIP, 1)], "no compressible projection 'qq' (did you mean 'q'?)"),
        ([BlockRank(("q",), Format.SKIP, 1), BlockRank(("q",), Format.DENSE, None)], "q is in more than one"),
        ([BlockRank(("q",), Format.SKIP, 1), BlockRank(("q", "k"), Format.CAT, 1)], "q is in more than one"),
        ([BlockRank(("q", "q"), Format.CAT, 1)], "q is in more than one"),
        ([BlockRank(("q",), Format.SKIP, 11)], "expected a rank from 1 to 10"),
        ([BlockRank(("q", "k"), Format.CAT, 11)], "q+k is held at rank 11"),
        ([BlockRank(("q",), Format.CAT, 2)], "name them all or use low-rank"),
        ([BlockRank(("q", "k"), Format.LOW_RANK, 2)], "holds one projection"),
        ([BlockRank(("k", "q"), Format.CAT, 2)], "expected q+k in this order"),
        ([BlockRank((), Format.CAT, 2)], "without projections"),
    ],
)
def test_a_lock_that_does_not_fit_is_named(method, locks, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)):
        allocate(method, two_members(), Budget(150, 200), formats=frozenset({Format.CAT}), locks=locks)


@every_allocator
def test_a_shared_lock_needs_a_shared_curve(method):
    groups = [GroupCurves(two_members()[0].separate, None)]
    lock = BlockRank(("q", "k"), Format.CAT, 2)
    with pytest.raises(InvalidRankMapError, match="without a shared curve"):
        allocate(method, groups, Budget(150, 200), formats=frozenset({Format.CAT}), locks=[lock])


@every_allocator
def test_locks_over_the_budget_are_infeasible(method):
    locks = [BlockRank(("q",), Format.LOW_RANK, 10), BlockRank(("k",), Format.LOW_RANK, 10)]
    with pytest.raises(InfeasibleBudgetError, match=r"around the 2 held blocks has 400.*; release held ranks"):
        allocate(method, two_members(), Budget(200, 200), formats=frozenset({Format.CAT}), locks=locks)


@every_allocator
def test_a_rank_step_below_one_is_refused(method):
    with pytest.raises(InvalidSpecError, match="rank_step was given as 0"):
        allocate(method, two_members(), Budget(9, 200), formats=frozenset({Format.CAT}), rank_step=0)


@every_allocator
def test_no_groups_need_no_parameters(method):
    found = allocate(method, [], Budget(0, 0), formats=frozenset({Format.CAT}))
    assert (found.blocks, found.params, found.nats) == ((), 0, 0.0)


@pytest.mark.parametrize(
    ("method", "offered"),
    [("uniform", "low-rank, cat, skip, skip\\+cat, width"), ("flrc", "low-rank, cat, skip, skip\\+cat")],
)
@pytest.mark.parametrize("formats", [{Format.CAT, Format.SKIP}, {Format.DENSE}, set()])
def test_methods_of_one_format_refuse_others(method, offered, formats):
    with pytest.raises(InvalidSpecError, match=f"choose exactly one of {offered}, or use"):
        allocate(method, two_members(), Budget(150, 200), formats=frozenset(formats))


def test_an_unknown_method_is_named():
    with pytest.raises(InvalidSpecError, match=r"did you mean 'uniform'\?.*choose one of .*water-filling"):
        allocators.get("unifrom")


@every_allocator
def test_one_parameter_less_than_a_rank_costs_is_the_rank_below(method):
    nats = np.append(10.0 ** -np.arange(10), 0.0)  # so steep that every rank is worth its price
    curve = DistortionCurve(("p",), 10, 10, nats, 1.0)
    for rank in (2, 3, 4):
        for spare, expected in ((0, rank), (-1, rank - 1)):
            budget = Budget(20 * rank + spare, 100)
            found = allocate(method, [GroupCurves((curve,), None)], budget, formats=frozenset({Format.LOW_RANK}))
            assert [block.rank for block in found.blocks] == [expected]
            assert found.params == 20 * expected


def test_the_lowest_rank_is_the_next_multiple_of_the_step():
    curve = DistortionCurve(("p",), 40, 40, np.linspace(1.0, 0.0, 41) ** 2, 1.0)
    groups, budget = [GroupCurves((curve,), None)], Budget(80 * 8, 1600)
    found = allocate("flrc", groups, budget, formats=frozenset({Format.LOW_RANK}), min_rank=5, rank_step=4)
    assert found.blocks[0].rank == 8
    with pytest.raises(InfeasibleBudgetError):
        allocate(
            "flrc", groups, Budget(80 * 8 - 1, 1600), formats=frozenset({Format.LOW_RANK}), min_rank=5, rank_step=4
        )
