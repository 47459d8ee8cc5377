"""The search space: real kinds and shapes in, ranks within shapes out, costs to the parameter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.formats import block_params
from engine.search.goals import Goal, draw_points, starting_points
from engine.search.space import LOWEST, Layout, SearchSpace, SpaceSpec
from engine.types import BlockRank, Format, InputGroup, Inventory, Projection


def inventory(n_layers: int, hidden: int, inner: int, narrow: int, *, fused: bool = False) -> Inventory:
    """A decoder of the usual kinds, or one whose queries, keys and values are one projection."""

    def layer(i: int) -> list[InputGroup]:
        def p(kind: str, out: int, width: int = hidden) -> Projection:
            return Projection(f"layers.{i}.{kind}", i, kind, out, width)

        attention = [p("qkv", hidden + 2 * narrow)] if fused else [p("q", hidden), p("k", narrow), p("v", narrow)]
        return [
            InputGroup(tuple(attention)),
            InputGroup((p("o", hidden),)),
            InputGroup((p("gate", inner), p("up", inner))),
            InputGroup((p("down", hidden, inner),)),
        ]

    groups = tuple(group for i in range(n_layers) for group in layer(i))
    total = sum(p.params for g in groups for p in g.members)
    return Inventory("Toy", n_layers, groups, (), total)


@pytest.mark.parametrize(
    ("ranks", "kept"),
    [((744, 1616, 2512, 2408, None), 0.7985), ((656, 1392, 2128, 2352, 2312), 0.6993)],
)
def test_the_published_ranks_of_a_7b_model_cost_what_was_published(ranks, kept):
    """Ranks of query and key, output, gate, up and down at the shapes of LLaMA-2-7B, values dense."""
    space = SearchSpace.of(inventory(32, 4096, 11008, 4096))
    assert [v.name for v in space.variables] == ["q+k", "o", "gate", "up", "down"]
    point = {}
    for variable, rank in zip(space.variables, ranks, strict=True):
        p = variable.projections[0]
        point[variable.name] = 1.0 if rank is None else rank * (p.in_features + p.out_features) / p.params
    found = {b.members[0].split(".")[-1]: b.rank for b in space.blocks(point)}
    assert [found[kind] for kind in ("q", "o", "gate", "up", "down")] == list(ranks)
    assert found["k"] == ranks[0]
    assert found["v"] is None
    assert space.kept_fraction(point) == pytest.approx(kept, abs=5e-5)


def test_fused_kinds_have_a_variable_each_and_quarters_split_the_depth():
    assert [v.name for v in SearchSpace.of(inventory(2, 64, 96, 32, fused=True)).variables] == [
        "qkv",
        "o",
        "gate",
        "up",
        "down",
    ]
    space = SearchSpace.of(inventory(8, 64, 96, 32), SpaceSpec(Layout.KINDS_AND_QUARTERS))
    assert len(space.variables) == 5 * 4
    layers = {v.name: {p.layer for p in v.projections} for v in space.variables}
    assert [layers[f"q+k@{quarter}"] for quarter in (1, 2, 3, 4)] == [{0, 1}, {2, 3}, {4, 5}, {6, 7}]
    few = SearchSpace.of(inventory(3, 64, 96, 32), SpaceSpec(Layout.KINDS_AND_QUARTERS))
    assert {p.name for v in few.variables for p in v.projections} == {
        p.name for p in few.inventory.projections if p.kind != "v"
    }


def test_kinds_to_tie_and_to_keep_dense_are_settings():
    model = inventory(2, 64, 96, 32)
    free = SearchSpace.of(model, SpaceSpec(tied=(), dense=()))
    assert [v.name for v in free.variables] == ["q", "k", "v", "o", "gate", "up", "down"]
    other = SearchSpace.of(model, SpaceSpec(tied=("gate", "up"), dense=()))
    assert "gate+up" in {v.name for v in other.variables}
    with pytest.raises(InvalidSpecError, match="rank step 0"):
        SpaceSpec(rank_step=0)


@st.composite
def spaces_and_points(draw):
    model = inventory(
        draw(st.integers(1, 6)),
        draw(st.integers(2, 96)),
        draw(st.integers(2, 160)),
        draw(st.integers(1, 96)),
        fused=draw(st.booleans()),
    )
    space = SearchSpace.of(model, SpaceSpec(draw(st.sampled_from(Layout)), draw(st.sampled_from([1, 2, 8, 13]))))
    point = {v.name: draw(st.floats(LOWEST, 1.0)) for v in space.variables}
    return model, space, point


@given(spaces_and_points())
def test_every_point_is_a_rank_map_within_the_shapes_that_costs_what_the_space_says(case):
    model, space, point = case
    blocks = space.blocks(point)
    assert [b.members[0] for b in blocks] == [p.name for p in model.projections]
    projections = model.by_name
    step = space.spec.rank_step
    for block in blocks:
        p = projections[block.members[0]]
        if block.rank is not None:
            assert block.format is Format.LOW_RANK
            assert block.rank % step == 0
            assert 1 <= block.rank < min(p.in_features, p.out_features)
            assert block_params(block, projections) < p.params
    assert space.params(point) == sum(block_params(block, projections) for block in blocks)
    assert 0 < space.kept_fraction(point) <= 1


@given(spaces_and_points(), st.floats(0.3, 1.0))
def test_scaling_never_exceeds_what_it_is_given(case, target):
    _, space, shape = case
    try:
        point = space.scaled(shape, target)
    except InfeasibleBudgetError:
        assert space.kept_fraction(dict.fromkeys(shape, LOWEST)) > target
        return
    assert space.kept_fraction(point) <= target
    assert all(LOWEST <= fraction <= 1 for fraction in point.values())


def test_a_map_projects_to_its_mean_kept_fractions():
    model = inventory(2, 64, 96, 32)
    space = SearchSpace.of(model, SpaceSpec(rank_step=1))
    ranks = {"layers.0.down": 12, "layers.1.down": 24}
    blocks = tuple(BlockRank((name,), Format.LOW_RANK, rank) for name, rank in ranks.items())
    point = space.projected(blocks, 1.0)
    mean = (12 + 24) * (64 + 96) / (2 * 64 * 96)
    others = [point[name] / point["down"] for name in ("q+k", "o", "gate", "up")]
    # Scaled as far as the size allows: what was dense is dense, the rest in proportion up to there.
    assert all(ratio >= 1 for ratio in others)
    exact = space.projected(blocks, space.kept_fraction({"q+k": 1, "o": 1, "gate": 1, "up": 1, "down": mean}))
    assert exact["down"] == pytest.approx(mean, abs=(64 + 96) / (64 * 96))  # within one rank


def test_only_sizes_of_the_goal_are_allowed_and_drawn():
    space = SearchSpace.of(inventory(4, 256, 512, 128))
    goal = Goal.at(0.8)
    assert goal.low == pytest.approx(0.7)
    assert goal.allows(0.8)
    assert not goal.allows(0.8001)
    assert not goal.allows(0.699)
    points = draw_points(space, goal, 20, seed=3)
    assert all(goal.allows(space.kept_fraction(p)) for p in points)
    assert points == draw_points(space, goal, 20, seed=3)
    starts = starting_points(space, goal, {0.8: [space.uniform(0.79)]}, 5, seed=0)
    assert starts[:2] == [space.uniform(0.79), space.uniform(0.8)]
    assert len(starts) == 5


def test_a_goal_out_of_reach_is_a_sentence():
    space = SearchSpace.of(inventory(1, 16, 16, 16))
    with pytest.raises(InfeasibleBudgetError, match="Hardly any point"):
        draw_points(space, Goal.at(0.3), 1, seed=0)
    with pytest.raises(InfeasibleBudgetError, match=r"at least .* larger --target"):
        space.uniform(0.3)
    for target in (0.0, 1.5, float("nan")):
        with pytest.raises(InvalidSpecError, match="kept fraction in"):
            Goal.at(target)
    with pytest.raises(InvalidSpecError, match="the first smaller"):
        Goal(0.9, 0.5, pareto=True)
