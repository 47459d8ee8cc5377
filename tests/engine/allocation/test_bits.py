"""Budgets in bytes: bits chosen beside ranks and widths, against brute force and against every single choice."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import BitChoices, build_frontier
from engine.precision import model_bytes
from engine.types import BITS, BlockRank, Format, GroupCurves, RoundingNats, block_name
from tests.support.examples import examples
from tests.support.strategies import EVERY, seeds, toy_locks, toy_model, toy_models

MIXES = st.sampled_from([frozenset(EVERY), frozenset({Format.LOW_RANK, Format.CAT}), frozenset({Format.SKIP})])


def rounding_of(model, seed):
    """Made-up predictions of rounding: fewer bits add more, more rank adds more."""
    rng = np.random.default_rng(seed)
    curves = [*model.curves, *(group.shared for group in model.groups if group.shared is not None)]
    scales = {8: 0.01, 4: 1.0}
    dense = {curve.name: float(rng.lognormal(-3, 1)) for curve in model.curves}
    factored = {c.name: np.concatenate([[0], np.cumsum(rng.random(c.max_rank) / 50)]) for c in curves}
    return RoundingNats(
        {bits: {name: nats * scale for name, nats in dense.items()} for bits, scale in scales.items()},
        {bits: {name: nats * scale for name, nats in factored.items()} for bits, scale in scales.items()},
    )


def frontier_of(model, mix, locks, seed, bits=BITS):
    rounding = rounding_of(model, seed)
    choices = BitChoices(bits, rounding, model.projections)
    return build_frontier(model.groups, formats=mix, locks=locks, choices=choices), rounding


def nats_of(blocks, model, rounding):
    """What cutting and rounding are predicted to do, block by block."""
    total = 0.0
    for block in blocks:
        if block.rank is None:
            total += rounding.of(block)
        else:
            curve = model.curve(block)
            neurons = curve.in_features if block.format is Format.WIDTH else None
            total += float(curve.nats[block.rank]) + rounding.of(block, neurons)
    return total


@examples(400)
@given(toy_models(truncated=False), seeds, st.sampled_from((0.0, 0.0, 0.4)), MIXES, st.floats(0, 1.1))
def test_an_answer_is_within_the_bytes_and_says_what_its_blocks_do(model, seed, locked, mix, share):
    locks = toy_locks(model, seed, locked)
    frontier, rounding = frontier_of(model, mix, locks, seed)
    limit = int(share * model_bytes("float16", (), model.inventory))
    if frontier.costs[0] > limit:
        return
    found = frontier.within(limit)
    assert model_bytes("float16", found.blocks, model.inventory) <= limit
    assert found.nats == pytest.approx(nats_of(found.blocks, model, rounding), rel=1e-9, abs=1e-12)
    assert sorted(n for b in found.blocks for n in b.members) == sorted(model.projections)
    assert all(block.bits in BITS for block in found.blocks)
    assert not any(block.is_rounded and block.format.skips for block in found.blocks)
    ranked = {lock.members: (lock.format, lock.rank) for lock in locks if lock.rank is not None}
    decided = {block.members: (block.format, block.rank) for block in found.blocks}
    assert {members: rank for members, (_, rank) in ranked.items()} == {m: decided[m][1] for m in ranked}


@examples(400)
@given(toy_models(truncated=False), seeds, MIXES)
def test_at_its_vertices_no_single_number_of_bits_is_better(model, seed, mix):
    frontier, _ = frontier_of(model, mix, (), seed)
    for bits in BITS:
        alone, _ = frontier_of(model, mix, (), seed, (bits,))
        for cost, nats in zip(alone.costs, alone.nats, strict=True):
            place = int(np.searchsorted(frontier.costs, cost, side="right")) - 1
            # Between two vertices the hull is the bound that no choice goes below.
            bound = np.interp(cost, frontier.costs, frontier.nats)
            assert place >= 0
            assert nats >= bound - 1e-9 * (1 + abs(bound))


def every_choice(model, mix, rounding):
    """Return (bytes, nats) of every combination of choices of a model without groups, by brute force."""
    per_curve = []
    for curve in model.curves:
        options = [BlockRank(curve.members, Format.DENSE, None, bits) for bits in BITS]
        for storage, rank, bits in itertools.product(mix, range(1, curve.max_rank + 1), BITS):
            if bits == 16 or not storage.skips:
                options.append(BlockRank(curve.members, storage, rank, bits))
        per_curve.append(options)
    for blocks in itertools.product(*per_curve):
        yield model_bytes("float16", blocks, model.inventory), nats_of(blocks, model, rounding)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mix", [frozenset({Format.LOW_RANK}), frozenset({Format.LOW_RANK, Format.SKIP})])
def test_every_vertex_is_what_brute_force_finds(seed, mix):
    whole = toy_model(seed, 3, 6, "random")
    groups = tuple(GroupCurves(group.separate[:1], None) for group in whole.groups[:2])
    model = replace(whole, groups=groups)
    frontier, rounding = frontier_of(model, mix, (), seed)
    points = sorted(every_choice(model, mix, rounding))
    for cost in frontier.costs:
        best = min(nats for n_bytes, nats in points if n_bytes <= cost)
        assert frontier.within(int(cost)).nats <= best + 1e-9


def test_what_is_dropped_from_an_mlp_is_not_rounded():
    nats = RoundingNats({8: {"up": 0.2, "down": 0.4}}, {8: {}})
    members = ("up", "down")
    assert nats.of(BlockRank(members, Format.WIDTH, 25, 8), neurons=100) == pytest.approx(0.15)
    assert nats.of(BlockRank(members, Format.WIDTH, 25, 16), neurons=100) == 0.0
    assert block_name(members) == "up+down"


def test_a_format_that_was_not_allowed_is_none_of_the_choices():
    whole = toy_model(5, 3, 12, "spectrum")
    model = replace(whole, groups=tuple(group for group in whole.groups if len(group.separate) > 1 and group.shared))
    assert model.groups
    frontier, _ = frontier_of(model, frozenset({Format.SKIP_CAT, Format.LOW_RANK}), (), 0)
    used = {b.format for cost in frontier.costs for b in frontier.within(int(cost)).blocks}
    assert used <= {Format.SKIP_CAT, Format.LOW_RANK, Format.DENSE}


@pytest.mark.parametrize("seed", range(3))
def test_what_skips_columns_is_never_rounded(seed):
    """Where layers are wide enough that skipping saves more than the order of the columns takes."""
    frontier, _ = frontier_of(toy_model(seed, 3, 64, "random"), frozenset({Format.SKIP}), (), seed)
    blocks = [block for cost in frontier.costs for block in frontier.within(int(cost)).blocks]
    assert {block.bits for block in blocks if block.format is Format.SKIP} == {16}
    assert any(block.is_rounded for block in blocks)
