"""Widths of MLPs that are held by hand: as locks, and in maps that are edited."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import InvalidRankMapError
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.editing import edited_map, held_blocks
from engine.methods.locks import lock_of
from engine.methods.presets import PRESETS
from engine.pipeline.reading.analyses import curves_by_metric
from engine.rank_map.document import check_rank_map
from engine.types import BlockRank, Budget, Format, Metric

FORMATS = PRESETS["water-filling"].formats


@pytest.fixture
def mlp(toy_analysis):
    return toy_analysis.inventory.mlps[1]


@pytest.fixture
def rank_map(toy_analysis):
    budget = Budget.of_kept_fraction(0.7, toy_analysis.inventory.compressible_params)
    ranks_only = Request(formats=FORMATS - {Format.WIDTH})
    return allocate_rank_map(toy_analysis, curves_by_metric(toy_analysis), "water-filling", budget, ranks_only)


def members(mlp):
    return tuple(p.name for p in mlp.members)


def test_a_held_width_is_a_lock_that_water_filling_keeps(toy_analysis, mlp):
    (lock,) = held_blocks(((mlp.name, 24),), FORMATS, toy_analysis)
    assert lock == BlockRank(members(mlp), Format.WIDTH, 24)
    budget = Budget.of_kept_fraction(0.7, toy_analysis.inventory.compressible_params)
    request = Request(locks=[lock])
    found = allocate_rank_map(toy_analysis, curves_by_metric(toy_analysis), "water-filling", budget, request)
    assert lock in found.blocks
    assert check_rank_map(found, toy_analysis.inventory, None) <= budget.params


def test_a_width_of_all_neurons_is_dense(toy_analysis, mlp):
    held = held_blocks(((mlp.name, mlp.neurons),), FORMATS, toy_analysis)
    assert held == tuple(BlockRank((name,), Format.DENSE, None) for name in members(mlp))


def test_a_width_held_in_a_map_replaces_what_it_decides_about_the_mlp_and_nothing_else(toy_analysis, mlp, rank_map):
    edited = edited_map(rank_map, ((mlp.name, 24),), FORMATS, toy_analysis)
    check_rank_map(edited, toy_analysis.inventory, None)
    inside = set(members(mlp))
    assert [b for b in edited.blocks if inside & set(b.members)] == [BlockRank(members(mlp), Format.WIDTH, 24)]
    assert [b for b in edited.blocks if not inside & set(b.members)] == [
        b for b in rank_map.blocks if not inside & set(b.members)
    ]


def test_a_projection_held_in_a_narrow_mlp_takes_it_apart_into_dense_ones(toy_analysis, mlp, rank_map):
    narrow = edited_map(rank_map, ((mlp.name, 24),), FORMATS, toy_analysis)
    edited = edited_map(narrow, ((mlp.down.name, 5),), FORMATS, toy_analysis)
    check_rank_map(edited, toy_analysis.inventory, None)
    inside = [b for b in edited.blocks if set(b.members) & set(members(mlp))]
    assert inside == [
        *(BlockRank((p.name,), Format.DENSE, None) for p in mlp.up),
        BlockRank((mlp.down.name,), Format.SKIP, 5),
    ]


def test_a_width_is_refused_in_words_where_it_was_not_analysed(toy_analysis, mlp, rank_map):
    dense = tuple(BlockRank((p.name,), Format.DENSE, None) for p in toy_analysis.inventory.projections)
    in_input_metric = replace(rank_map, metric=Metric.INPUT, blocks=dense)
    with pytest.raises(InvalidRankMapError, match="not analysed there in the input metric"):
        edited_map(in_input_metric, ((mlp.name, 24),), FORMATS, toy_analysis)
    with pytest.raises(InvalidRankMapError, match="whole number"):
        lock_of(mlp.name, 0, toy_analysis.inventory, FORMATS)
