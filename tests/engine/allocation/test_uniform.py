"""Uniform: the published ranks, and what floors and locks leave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import allocate_uniformly
from engine.errors import InfeasibleBudgetError
from engine.formats import rank_params
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves
from tests.support.examples import examples
from tests.support.strategies import FACTORED, toy_models


def group(prefix: str, n_in: int, *outs: int) -> GroupCurves:
    def curve(names: tuple[str, ...], n_out: int) -> DistortionCurve:
        return DistortionCurve(names, n_in, n_out, np.zeros(min(n_in, n_out) + 1), 1.0)

    names = tuple(f"{prefix}{i}" for i in range(len(outs)))
    separate = tuple(curve((name,), n_out) for name, n_out in zip(names, outs, strict=True))
    return GroupCurves(separate, curve(names, sum(outs)) if len(outs) > 1 else None)


LLAMA = [
    group("qkv", 4096, 4096, 4096, 4096),
    group("o", 4096, 4096),
    group("gate_up", 4096, 11008, 11008),
    group("down", 11008, 4096),
]
TOTAL = sum(g.dense_params for g in LLAMA)


@pytest.mark.parametrize(
    ("storage", "qkv", "gate_up"),
    [
        (Format.LOW_RANK, 1638, 2388),
        (Format.CAT, 2457, 2762),
        (Format.SKIP, 2264, 2973),
        (Format.SKIP_CAT, 3010, 3140),
    ],
)
def test_llama_2_7b_at_a_kept_fraction_of_four_fifths(storage, qkv, gate_up):
    """SkipCat, arXiv:2512.13494: the effective ranks of its formats."""
    found = allocate_uniformly(LLAMA, Budget.of_kept_fraction(0.8, TOTAL), formats=frozenset({storage}))
    ranks = {block.members[0]: block.rank for block in found.blocks}
    assert (ranks["qkv0"], ranks["gate_up0"]) == (qkv, gate_up)
    assert len(found.blocks) == (4 if storage.is_shared else 7)
    alone = found.blocks[-1]
    assert alone.format is {Format.CAT: Format.LOW_RANK, Format.SKIP_CAT: Format.SKIP}.get(storage, storage)


def test_what_rounding_leaves_is_not_spent():
    groups = [group("a", 100, 100), group("b", 100, 100)]
    found = allocate_uniformly(groups, Budget(10_390, 20_000), formats=frozenset({Format.LOW_RANK}))
    assert [block.rank for block in found.blocks] == [25, 25]
    assert found.params == 10_000


def test_locks_are_paid_first():
    groups = [group("a", 100, 100), group("b", 100, 100), group("c", 100, 100)]
    lock = BlockRank(("a0",), Format.LOW_RANK, 40)
    found = allocate_uniformly(groups, Budget(18_000, 30_000), formats=frozenset({Format.SKIP}), locks=[lock])
    assert [block.rank for block in found.blocks] == [40, 29, 29]
    assert rank_params(Format.SKIP, 29, 100, 100) <= 5_000 < rank_params(Format.SKIP, 30, 100, 100)


def test_locks_may_leave_room_for_everything_else():
    groups = [group("a", 100, 100), group("b", 100, 100)]
    lock = BlockRank(("a0",), Format.LOW_RANK, 1)
    found = allocate_uniformly(groups, Budget(10_200, 20_000), formats=frozenset({Format.SKIP}), locks=[lock])
    assert [block.rank for block in found.blocks] == [1, None]


def test_a_block_above_its_share_takes_its_floor_and_the_others_pay():
    # Half of 3 x 3 is 4 parameters, less than the 6 of rank 1.
    groups = [group("tiny", 3, 3), group("b", 10, 10), group("c", 10, 10)]
    found = allocate_uniformly(groups, Budget(104, 209), formats=frozenset({Format.LOW_RANK}))
    assert [block.rank for block in found.blocks] == [1, 2, 2]
    with pytest.raises(InfeasibleBudgetError, match=r"has 46; raise the kept fraction to at least 0\.2201"):
        allocate_uniformly(groups, Budget(45, 209), formats=frozenset({Format.LOW_RANK}))


def test_floors_that_cascade():
    """Paying for one floor lowers the share of the next below its own floor."""
    groups = [group("one", 1, 9), group("two", 3, 3), group("three", 40, 40)]
    found = allocate_uniformly(groups, Budget(1_100, 1_618), formats=frozenset({Format.LOW_RANK}))
    assert [block.rank for block in found.blocks] == [None, 1, 13]
    assert found.params == 9 + 6 + 13 * 80


@examples(300)
@given(model=toy_models(largest=20, truncated=False), storage=st.sampled_from(FACTORED), kept=st.floats(0, 1))
def test_every_block_above_its_floor_has_the_largest_rank_of_one_common_fraction(model, storage, kept):
    budget = model.budget(int(kept * model.total))
    try:
        found = allocate_uniformly(model.groups, budget, formats=frozenset({storage}))
    except InfeasibleBudgetError:
        return
    costs = {}
    for block in found.blocks:
        curve = model.curve(block)
        if block.rank is not None:
            sides = (curve.in_features, curve.out_features)
            costs[block] = [
                rank_params(block.format, r, *sides) / curve.dense_params for r in (block.rank, block.rank + 1)
            ]
    above_floor = [fractions for block, fractions in costs.items() if block.rank > 1]
    if above_floor:
        lowest = max(kept for kept, _ in above_floor)
        assert all(lowest < following for _, following in costs.values())
