"""What ranks and widths held by hand mean: as locks, and in a map that is edited."""

from __future__ import annotations

import pytest

from engine.errors import InvalidRankMapError
from engine.methods.cost import cost_of
from engine.methods.editing import edited_map, held_blocks, holdable, without
from engine.methods.locks import lock_of
from engine.rank_map.document import RankMap
from engine.types import BlockRank, Format, Metric
from tests.support.bare_board import made_up_analysis
from tests.support.strategies import FACTORED

ANALYSIS = made_up_analysis(1, 24, mlps=True)
GATE, UP, DOWN = MEMBERS = tuple(f"layers.0.{kind}" for kind in ("gate", "up", "down"))
MLP = "+".join(MEMBERS)
FORMATS = frozenset(FACTORED)


def dense(*names: str) -> list[BlockRank]:
    return [BlockRank((name,), Format.DENSE, None) for name in names]


def skip(name: str, rank: int) -> BlockRank:
    return BlockRank((name,), Format.SKIP, rank)


def width(neurons: int) -> BlockRank:
    return BlockRank(MEMBERS, Format.WIDTH, neurons)


def rank_map(*blocks: BlockRank, metric: Metric = Metric.LOSS) -> RankMap:
    return RankMap("made up", "0" * 64, None, "saved", metric, 10**6, blocks)


def test_the_name_of_an_mlp_stands_for_its_width():
    assert MLP in holdable(ANALYSIS)
    assert lock_of(MLP, 50, ANALYSIS.inventory, FORMATS) == width(50)
    assert lock_of(MLP, "dense", ANALYSIS.inventory, FORMATS) == BlockRank(MEMBERS, Format.DENSE, None)
    with pytest.raises(InvalidRankMapError, match="is no projection of this model"):
        lock_of(f"{UP}+{DOWN}", 50, ANALYSIS.inventory, FORMATS)


def test_a_width_of_all_neurons_is_dense_projection_by_projection():
    assert held_blocks(((MLP, 71), ("layers.0.o", 5)), FORMATS, ANALYSIS) == (width(71), skip("layers.0.o", 5))
    assert held_blocks(((MLP, 72),), FORMATS, ANALYSIS) == tuple(dense(*MEMBERS))


@pytest.mark.parametrize(
    ("blocks", "held", "expected"),
    [
        # From ranks to a width, and to another width.
        ([skip(GATE, 3), skip(UP, 4), skip(DOWN, 5)], {MLP: 30}, [width(30)]),
        ([BlockRank((GATE, UP), Format.CAT, 9), skip(DOWN, 5)], {MLP: 30}, [width(30)]),
        ([width(40)], {MLP: 30}, [width(30)]),
        ([width(40)], {MLP: 72}, dense(*MEMBERS)),
        # From a width to a rank.
        ([width(40)], {UP: 7}, [*dense(GATE), skip(UP, 7), *dense(DOWN)]),
        ([width(40)], {"layers.0.o": 7}, [width(40)]),
        (
            [BlockRank((GATE, UP), Format.CAT, 9), skip(DOWN, 5)],
            {UP: 7},
            [BlockRank((GATE, UP), Format.CAT, 7), skip(DOWN, 5)],
        ),
    ],
)
def test_a_map_is_edited_to_a_width_and_back(blocks, held, expected):
    edited = edited_map(rank_map(*blocks), tuple(held.items()), FORMATS, ANALYSIS)
    assert edited.blocks == tuple(expected)
    assert cost_of(ANALYSIS, edited).nats == pytest.approx(
        sum(ANALYSIS.nats[Metric.LOSS][b.name][b.rank] for b in expected if b.rank is not None)
    )


def test_a_metric_without_widths_says_so():
    with pytest.raises(InvalidRankMapError, match="held at width 30, but was not analysed there in the input metric"):
        edited_map(rank_map(skip(GATE, 3), metric=Metric.INPUT), ((MLP, 30),), FORMATS, ANALYSIS)


def test_a_projection_is_released_with_the_width_of_its_mlp():
    held = {MLP: 30, "layers.0.o": 5, "layers.0.q": 6}
    assert without(held, ["layers.0.o", UP]) == {"layers.0.q": 6}
