"""Budgets in time: what blocks take on a device, against the forecast of whole models and against brute force."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import TICKS_PER_S, TimeChoices, build_frontier
from engine.devices.roofline import forecast, rest_seconds
from engine.devices.value import Device
from engine.types import BlockRank, Format, GroupCurves
from tests.support.examples import examples
from tests.support.strategies import EVERY, seeds, toy_locks, toy_model, toy_models

DEVICES = {
    "reads slowly": Device("reads slowly", 1e9, 1e6, 1e12, 1e-9, "made up"),
    "multiplies slowly": Device("multiplies slowly", 1e9, 1e12, 1e6, 1e-9, "made up"),
    "starts slowly": Device("starts slowly", 1e9, 1e9, 1e12, 1e-5, "made up"),
    "balanced": Device("balanced", 1e9, 1e6, 1e6, 1e-5, "made up"),
}
MIXES = st.sampled_from(
    [frozenset(EVERY), frozenset({Format.LOW_RANK, Format.CAT}), frozenset({Format.SKIP}), frozenset({Format.WIDTH})]
)
DTYPES = st.sampled_from(("float32", "float16", "int8", "int4"))


def frontier_of(model, mix, locks, device, dtype, batch):
    choices = TimeChoices(device, dtype, batch, model.projections)
    return build_frontier(model.groups, formats=mix, locks=locks, choices=choices)


def seconds_of(blocks, model, device, dtype, batch):
    """What the projections take, from the forecast of the whole model."""
    used = {"dtype": dtype, "batch": batch, "context": 0}
    whole = forecast(blocks, model.inventory, device, **used).step_s
    return whole - rest_seconds(model.inventory, device, **used)


def nats_of(blocks, model):
    return sum(float(model.curve(block).nats[block.rank]) for block in blocks if block.rank is not None)


@examples(600)
@given(
    toy_models(truncated=False),
    seeds,
    st.sampled_from((0.0, 0.0, 0.4)),
    MIXES,
    st.floats(0, 1.3),
    st.sampled_from(sorted(DEVICES)),
    DTYPES,
    st.sampled_from((1, 8)),
)
def test_an_answer_is_within_the_time_that_the_forecast_gives_it(model, seed, locked, mix, share, name, dtype, batch):
    locks, device = toy_locks(model, seed, locked), DEVICES[name]
    frontier = frontier_of(model, mix, locks, device, dtype, batch)
    limit = int(share * seconds_of((), model, device, dtype, batch) * TICKS_PER_S)
    if frontier.costs[0] > limit:
        return
    found = frontier.within(limit)
    assert seconds_of(found.blocks, model, device, dtype, batch) <= limit / TICKS_PER_S * (1 + 1e-9) + 1e-15
    assert found.nats == pytest.approx(nats_of(found.blocks, model), rel=1e-9, abs=1e-12)
    assert sorted(name for block in found.blocks for name in block.members) == sorted(model.projections)
    assert all(block.bits is None for block in found.blocks)
    decided = {block.members: block.rank for block in found.blocks}
    assert all(decided[lock.members] == lock.rank for lock in locks if lock.rank is not None)
    allowed = {lock.format for lock in locks} | mix | {Format.DENSE}
    alone = {Format.LOW_RANK if Format.CAT in allowed else None, Format.SKIP if Format.SKIP_CAT in allowed else None}
    assert {block.format for block in found.blocks} <= allowed | alone


def every_choice(model, mix, device, dtype, batch):
    """Return (seconds, nats) of every combination of choices of a model without groups, by brute force."""
    per_curve = []
    for curve in model.curves:
        ranks = itertools.product(mix, range(1, curve.max_rank + 1))
        factored = [BlockRank(curve.members, storage, rank) for storage, rank in ranks]
        per_curve.append([BlockRank(curve.members, Format.DENSE, None), *factored])
    for blocks in itertools.product(*per_curve):
        yield seconds_of(blocks, model, device, dtype, batch), nats_of(blocks, model)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("mix", [frozenset({Format.LOW_RANK}), frozenset({Format.LOW_RANK, Format.SKIP})])
def test_every_vertex_is_what_brute_force_finds(seed, name, mix):
    whole = toy_model(seed, 3, 6, "random")
    model = replace(whole, groups=tuple(GroupCurves(group.separate[:1], None) for group in whole.groups[:2]))
    device, dtype, batch = DEVICES[name], ("float16", "int8")[seed % 2], (1, 8)[seed // 2]
    frontier = frontier_of(model, mix, (), device, dtype, batch)
    points = list(every_choice(model, mix, device, dtype, batch))
    for cost in frontier.costs:
        best = min(nats for seconds, nats in points if seconds <= cost / TICKS_PER_S * (1 + 1e-12))
        assert frontier.within(int(cost)).nats <= best + 1e-9


def test_where_operations_are_dear_dense_is_the_fastest_there_is():
    model = toy_model(1, 3, 12, "spectrum")
    device = DEVICES["starts slowly"]
    frontier = frontier_of(model, frozenset({Format.LOW_RANK, Format.SKIP}), (), device, "float16", 1)
    assert len(frontier.costs) == 1
    assert all(block.rank is None for block in frontier.within(int(frontier.costs[0])).blocks)


def test_skipping_is_left_where_its_gathering_costs_more_than_it_saves():
    model = toy_model(2, 3, 40, "spectrum", sharing=False)
    mix = frozenset({Format.LOW_RANK, Format.SKIP})
    cheap, dear = DEVICES["multiplies slowly"], replace(DEVICES["multiplies slowly"], kernel_s=2e-4)
    used = [
        {block.format for block in frontier.within(int(cost)).blocks}
        for device in (cheap, dear)
        for frontier in [frontier_of(model, mix, (), device, "float16", 1)]
        for cost in [int(frontier.costs[len(frontier.costs) // 2])]
    ]
    assert Format.SKIP in used[0]
    assert Format.LOW_RANK in used[1]
