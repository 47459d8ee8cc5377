"""Two maps are the same exactly if they do the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.rank_map.document import RankMap
from engine.rank_map.identity import map_id
from engine.types import BlockRank, Format, Metric

ONE = BlockRank(("q", "k"), Format.CAT, 24)
OTHER = BlockRank(("v",), Format.SKIP, 16)
MAP = RankMap("toy", "f" * 64, None, "flrc", Metric.LOSS, None, (ONE, OTHER))


def test_names_methods_order_and_dense_blocks_do_not_matter():
    dense = BlockRank(("o",), Format.DENSE, None)
    same = replace(MAP, model_name="another name", method="by hand", blocks=(OTHER, ONE, dense))
    assert map_id(same) == map_id(MAP)


@pytest.mark.parametrize(
    "other",
    [
        replace(MAP, metric=Metric.INPUT),
        replace(MAP, blocks=(ONE,)),
        replace(MAP, blocks=(replace(ONE, rank=25), OTHER)),
        replace(MAP, blocks=(replace(ONE, format=Format.SKIP_CAT), OTHER)),
        replace(MAP, blocks=(replace(ONE, members=("q", "v")), OTHER)),
    ],
    ids=["metric", "blocks", "rank", "format", "members"],
)
def test_whatever_changes_the_model_changes_the_identity(other):
    assert map_id(other) != map_id(MAP)


def test_refined_factors_are_another_model():
    assert len({map_id(MAP), map_id(MAP, "a" * 64), map_id(MAP, "b" * 64)}) == 3
