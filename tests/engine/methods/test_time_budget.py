"""Rank maps for a speed: of every method, as fast as asked, or one sentence with the fastest."""

from __future__ import annotations

import re

import pytest

from engine.analysis.curves import group_curves
from engine.devices.value import presets
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.methods.allocate import Request, Target
from engine.methods.presets import PRESETS, AllocationSettings
from engine.methods.time_budget import Situation, time_rule
from engine.rank_map.ceiling import TimeCeiling
from engine.types import BlockRank, Format
from tests.support.bare_board import METRICS, made_up_analysis

ANALYSIS = made_up_analysis(2, 96, mlps=True)
CURVES = {metric: group_curves(ANALYSIS, metric) for metric in METRICS}
SITUATION = Situation("raspberry-pi-5", presets()["raspberry-pi-5"], "float32", 2, 64)
DENSE_S = SITUATION.forecast((), ANALYSIS.inventory).step_s
FORMATS = frozenset({Format.WIDTH})


def rule_of(method, **asked):
    return time_rule(ANALYSIS, method, CURVES, Request(**asked), SITUATION)


@pytest.mark.parametrize("method", [name for name in PRESETS if not PRESETS[name].needs_search])
def test_a_map_is_as_fast_as_asked_and_the_refusal_names_the_fastest(method):
    rule = rule_of(method)
    assert rule.allocate(DENSE_S).blocks == rule.allocate(2 * DENSE_S).blocks
    with pytest.raises(InfeasibleBudgetError, match="is predicted to take") as refused:
        rule.allocate(1e-9)
    least_ms, tokens = re.search(r"to take ([0-9.]+) ms per token \(([0-9,.]+) tokens/s", str(refused.value)).groups()
    least_s = float(least_ms) / 1e3
    assert rule.allocate(2 / float(tokens.replace(",", ""))).ceiling is not None
    for step_s in (least_s, (least_s + DENSE_S) / 2):
        made = rule.allocate(step_s)
        assert SITUATION.forecast(made.blocks, ANALYSIS.inventory).step_s <= step_s
        assert made.ceiling == TimeCeiling(step_s, "raspberry-pi-5", "float32", 2, 64)
        assert (made.method, made.budget_params) == (method, None)


def test_water_filling_by_time_is_no_worse_than_the_map_of_any_size_that_is_as_fast():
    stepped = AllocationSettings(rank_step=8)
    by_time = rule_of("water-filling", formats=FORMATS, settings=stepped)
    by_size = rule_of("width", settings=stepped)
    for share in (0.95, 0.97, 0.99):
        fast, uniform = by_time.allocate(share * DENSE_S), by_size.allocate(share * DENSE_S)
        curves = ANALYSIS.nats[fast.metric]
        nats = [
            sum(float(curves[block.name][block.rank]) for block in made.blocks if block.rank is not None)
            for made in (fast, uniform)
        ]
        assert nats[0] <= nats[1]


def test_held_ranks_are_kept():
    name = next(iter(ANALYSIS.projections))
    held = BlockRank((name,), Format.LOW_RANK, 3)
    assert held in rule_of("water-filling", locks=(held,)).allocate(1.1 * DENSE_S).blocks


@pytest.mark.parametrize("step_s", [0.0, -1.0, float("nan")])
def test_no_time_is_a_sentence(step_s):
    with pytest.raises(InvalidSpecError, match="more than 0"):
        rule_of("water-filling").allocate(step_s)


def test_a_speed_becomes_seconds_of_a_step():
    assert Target(tokens_per_second=40).step_s(8) == pytest.approx(0.2)
    assert Target(ms_per_token=40).step_s(8) == pytest.approx(0.04)
    assert Target(keep=0.8).step_s(8) is None
    with pytest.raises(InvalidSpecError, match="--tokens-per-second -1 was given"):
        Target(tokens_per_second=-1)
    with pytest.raises(InvalidSpecError, match="--keep and --ms-per-token was given"):
        Target(keep=0.5, ms_per_token=3)
