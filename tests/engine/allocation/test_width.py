"""MLPs that have ranks or a width: what competes with what, what locks leave, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from engine.allocation import (
    BudgetByBudget,
    allocate_by_importance,
    allocate_by_water_filling,
    allocate_uniformly,
    build_frontier,
)
from engine.errors import InfeasibleBudgetError, InvalidRankMapError, InvalidSpecError
from engine.types import BlockRank, Budget, DistortionCurve, Format, GroupCurves
from tests.support.strategies import EVERY

SIDE, NEURONS = 10, 20
MLP = ("gate", "up", "down")
WIDTH = frozenset({Format.WIDTH})
ALL = frozenset(EVERY)
DEAR, CHEAP = 8.0, 0.1


def curve(*names: str, n_in: int = SIDE, n_out: int = NEURONS, nats: float = 1.0) -> DistortionCurve:
    width = n_out * len(names)
    return DistortionCurve(names, n_in, width, np.linspace(nats * len(names), 0, min(n_in, width) + 1) ** 2, 1.0)


def layer(width_nats: float, *, also: tuple[str, ...] = (), o: bool = False) -> list[GroupCurves]:
    """Return a gated MLP with a width, whose group others may be in; ``o`` comes between gate and down."""
    names = (*also, "gate", "up")
    width = DistortionCurve(MLP, NEURONS, 3 * SIDE, width_nats * np.linspace(1, 0, NEURONS + 1) ** 2, 0.0)
    down = GroupCurves((curve("down", n_in=NEURONS, n_out=SIDE),), None, width)
    first = GroupCurves(tuple(curve(name) for name in names), curve(*names))
    return [first, *([GroupCurves((curve("o", n_out=SIDE),), None)] if o else []), down]


def budget(groups: list[GroupCurves], kept: float) -> Budget:
    total = sum(group.dense_params for group in groups)
    return Budget(int(kept * total), total)


def water_filled(groups, kept, locks=(), formats=ALL, **settings):
    return allocate_by_water_filling(groups, budget(groups, kept), formats=formats, locks=locks, **settings)


@pytest.mark.parametrize(("nats", "is_narrow"), [(CHEAP, True), (DEAR, False)])
def test_an_mlp_has_a_width_where_that_costs_less(nats, is_narrow):
    found = water_filled(layer(nats), 0.6)
    if is_narrow:
        assert found.blocks == (BlockRank(MLP, Format.WIDTH, 12),)
        assert found.params == 12 * 3 * SIDE
        assert found.nats == pytest.approx(CHEAP * 0.4**2)
    else:
        assert Format.WIDTH not in {block.format for block in found.blocks}


def test_what_shares_the_input_with_a_narrow_mlp_is_stored_by_itself():
    found = water_filled(layer(CHEAP, also=("q", "k", "v")), 0.5)
    assert [block.members for block in found.blocks] == [("q",), ("k",), ("v",), MLP]
    assert found.blocks[-1].format is Format.WIDTH


def test_a_narrow_mlp_stands_where_its_first_projection_does():
    found = water_filled(layer(CHEAP, o=True), 0.5)
    assert [block.members for block in found.blocks] == [MLP, ("o",)]
    dense = water_filled(layer(CHEAP, o=True), 1.0)
    assert [block.name for block in dense.blocks] == ["gate", "up", "o", "down"]


def test_width_competes_only_where_it_is_asked_for():
    found = water_filled(layer(CHEAP), 0.6, formats=ALL - WIDTH)
    assert Format.WIDTH not in {block.format for block in found.blocks}


def test_a_width_is_a_multiple_of_the_step():
    found = water_filled(layer(CHEAP), 0.69, rank_step=4)
    assert found.blocks == (BlockRank(MLP, Format.WIDTH, 12),)


def test_a_held_width_leaves_the_rest_of_its_group_free():
    lock = BlockRank(MLP, Format.WIDTH, 3)
    groups = layer(DEAR, also=("q",))
    found = water_filled(groups, 0.5, [lock])
    assert found.blocks[1] == lock
    assert found.blocks[0].members == ("q",)
    assert found.blocks[0].rank is None
    with pytest.raises(InfeasibleBudgetError, match="1 held blocks has 119"):
        water_filled(groups, 0.1, [lock])


@pytest.mark.parametrize(
    "lock",
    [
        BlockRank(("gate",), Format.SKIP, 4),
        BlockRank(("down",), Format.LOW_RANK, 2),
        BlockRank(("down",), Format.DENSE, None),
        BlockRank(("gate", "up"), Format.CAT, 5),
    ],
)
def test_any_other_lock_on_a_projection_rules_width_out(lock):
    found = water_filled(layer(CHEAP), 0.6, [lock])
    assert Format.WIDTH not in {block.format for block in found.blocks}
    assert lock in found.blocks


def test_a_lock_beside_the_mlp_leaves_width_in():
    lock = BlockRank(("q",), Format.SKIP, 4)
    found = water_filled(layer(CHEAP, also=("q",)), 0.5, [lock])
    assert found.blocks[0] == lock
    assert found.blocks[1].format is Format.WIDTH


def test_an_mlp_held_dense_is_dense_projection_by_projection():
    lock = BlockRank(MLP, Format.DENSE, None)
    found = water_filled(layer(CHEAP, also=("q",)), 0.9, [lock])
    assert found.blocks[1:] == tuple(BlockRank((name,), Format.DENSE, None) for name in MLP)


def test_hulls_of_other_units_are_used_again():
    groups = layer(CHEAP, o=True)
    before = build_frontier(groups, formats=ALL)
    after = before.around([BlockRank(MLP, Format.WIDTH, 3)])
    assert after.hulls[0] is not before.hulls[0]
    assert after.hulls[1] is before.hulls[1]


def test_uniform_widths_narrow_every_mlp_alike_and_leave_the_rest_dense():
    groups = layer(CHEAP, also=("q",), o=True)
    found = allocate_uniformly(groups, budget(groups, 0.7), formats=WIDTH)
    assert found.blocks == (
        BlockRank(("q",), Format.DENSE, None),
        BlockRank(MLP, Format.WIDTH, 11),
        BlockRank(("o",), Format.DENSE, None),
    )
    assert found.params <= 0.7 * 900 < found.params + 3 * SIDE
    with pytest.raises(InfeasibleBudgetError, match=r"has 330; raise the kept fraction to at least 0\.3667"):
        allocate_uniformly(groups, budget(groups, 0.3), formats=WIDTH)


@pytest.mark.parametrize(("neurons", "step"), [(1024, 32), (1536, 32), (512, 16), (20, 1)])
def test_uniform_widths_are_multiples_that_runtimes_are_fast_at(neurons, step):
    up = GroupCurves((curve("gate", n_in=512, n_out=neurons), curve("up", n_in=512, n_out=neurons)), None)
    width = DistortionCurve(MLP, neurons, 3 * 512, np.linspace(1, 0, neurons + 1), 0.0)
    groups = [up, GroupCurves((curve("down", n_in=neurons, n_out=512),), None, width)]
    found = allocate_uniformly(groups, budget(groups, 0.69), formats=WIDTH)
    assert found.blocks == (BlockRank(MLP, Format.WIDTH, int(0.69 * neurons) // step * step),)
    held = BlockRank(MLP, Format.WIDTH, 13)
    assert allocate_uniformly(groups, budget(groups, 0.69), formats=WIDTH, locks=[held]).blocks == (held,)


def test_uniform_ranks_respect_a_held_width():
    lock = BlockRank(MLP, Format.WIDTH, 3)
    groups = layer(CHEAP, also=("q",))
    for allocate in (allocate_uniformly, allocate_by_importance):
        found = allocate(groups, budget(groups, 0.2), formats=frozenset({Format.SKIP_CAT}), locks=[lock])
        assert found.blocks[1] == lock
        assert found.blocks[0].format is Format.SKIP


def test_widths_that_were_not_analysed_are_not_spread():
    with pytest.raises(InfeasibleBudgetError, match="No MLP of this analysis has a curve of its width"):
        allocate_uniformly([GroupCurves((curve("o"),), None)], Budget(100, 200), formats=WIDTH)


def test_importances_say_nothing_about_widths():
    groups = layer(CHEAP)
    with pytest.raises(InvalidSpecError, match=r"flrc method .* was given width; choose exactly one of low-rank"):
        allocate_by_importance(groups, budget(groups, 0.8), formats=WIDTH)


def test_a_width_adds_no_parameters_to_the_dense_model():
    groups = layer(CHEAP)
    assert BudgetByBudget("uniform", groups, WIDTH, (), {}).budgets[-1] == 3 * SIDE * NEURONS


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        (BlockRank(MLP, Format.WIDTH, 21), "gate+up+down is held at width 21; expected a width from 1 to 20, or dense"),
        (BlockRank(("gate", "down"), Format.WIDTH, 2), "that of a whole MLP; expected gate+up+down in this order"),
        (BlockRank(("down",), Format.WIDTH, 2), "'down' was given format width, which is that of a whole MLP"),
        (BlockRank(("o",), Format.WIDTH, 2), "'o' was given format width, but is part of no MLP whose width was"),
        (BlockRank(MLP, Format.CAT, 2), "neither one projection nor a whole input group; expected gate+up in this"),
        (BlockRank(("down", "up", "gate"), Format.DENSE, None), "neither one projection nor a whole input group"),
    ],
)
def test_a_held_width_that_does_not_fit_is_named(lock, sentence):
    with pytest.raises(InvalidRankMapError, match=re.escape(sentence)):
        water_filled(layer(CHEAP, o=True), 0.5, [lock])


def test_a_width_cannot_be_held_where_none_was_analysed():
    groups = [*layer(CHEAP)[:1], GroupCurves((curve("down", n_in=NEURONS, n_out=SIDE),), None)]
    with pytest.raises(InvalidRankMapError, match="analyse the model again with the loss metric"):
        water_filled(groups, 0.5, [BlockRank(MLP, Format.WIDTH, 2)])


def test_a_projection_of_a_held_width_is_in_no_other_lock():
    locks = [BlockRank(MLP, Format.WIDTH, 2), BlockRank(("up",), Format.SKIP, 2)]
    with pytest.raises(InvalidRankMapError, match="up is in more than one block"):
        water_filled(layer(CHEAP), 0.5, locks)
