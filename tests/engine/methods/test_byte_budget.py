"""Budgets in bytes: never worse, as predicted, than any single choice, and which single choice to measure beside."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.analysis.curves import group_curves
from engine.errors import InfeasibleBudgetError
from engine.methods.allocate import AS_PUBLISHED, Request, allocate_rank_map
from engine.methods.byte_budget import CHOOSE, byte_rule, dense_at, single_bits
from engine.methods.cost import cost_of
from engine.precision import ROUNDINGS, STORED_AS, model_bytes
from engine.rank_map.ceiling import ByteCeiling
from engine.types import BITS, Budget, Format, Metric, RoundingNats
from tests.support.bare_board import made_up_analysis

PLAIN = made_up_analysis(2, 96, mlps=True)
INVENTORY = PLAIN.inventory
CURVES = group_curves(PLAIN, Metric.LOSS)


def with_rounding(seed):
    """Return the analysis with made-up predictions of rounding: from harmless to worse than leaving a block out."""
    rng, nats = np.random.default_rng(seed), PLAIN.nats[Metric.LOSS]
    scales = {8: 1e-3, 4: 10 ** rng.uniform(-3, 1)}
    dense = {name: float(nats[name][0] * rng.random()) for name in PLAIN.projections}
    factored = {name: np.concatenate([[0], np.cumsum(rng.random(len(of) - 1) / len(of))]) for name, of in nats.items()}
    return replace(
        PLAIN,
        rounding=RoundingNats(
            {bits: {name: scale * of for name, of in dense.items()} for bits, scale in scales.items()},
            {bits: {name: scale * of for name, of in factored.items()} for bits, scale in scales.items()},
        ),
    )


@pytest.mark.parametrize("seed", range(5))
def test_an_answer_is_predicted_to_be_no_worse_than_any_single_choice_as_large(seed):
    analysis = with_rounding(seed)
    chosen = byte_rule(analysis, CURVES, AS_PUBLISHED, CHOOSE)
    alone = [byte_rule(analysis, CURVES, AS_PUBLISHED, str(bits)) for bits in BITS]
    dense = [(model_bytes(STORED_AS[bits], (), INVENTORY), dense_at(analysis, bits).nats) for bits in BITS]
    rng = np.random.default_rng(seed)
    sizes = [*(n_bytes for n_bytes, _ in dense), *(rng.uniform(0.2, 1.1, 20) * dense[0][0])]
    for n_bytes in map(int, sizes):
        try:
            found = chosen.allocate(n_bytes)
        except InfeasibleBudgetError:
            assert n_bytes < min(size for size, _ in dense)
            continue
        assert model_bytes("float16", found.blocks, INVENTORY) <= n_bytes
        nats = cost_of(analysis, found).nats
        assert all(nats <= of_dense + 1e-9 for size, of_dense in dense if size <= n_bytes)
        for rule in alone:
            try:
                assert nats <= cost_of(analysis, rule.allocate(n_bytes)).nats + 1e-9
            except InfeasibleBudgetError:
                continue


def test_the_dense_model_at_the_most_bits_that_fit_is_the_single_choice_beside_a_map():
    analysis = with_rounding(0)
    sizes = {bits: model_bytes(STORED_AS[bits], (), INVENTORY) for bits in ROUNDINGS}
    rule = byte_rule(analysis, CURVES, AS_PUBLISHED, CHOOSE)
    for n_bytes, expected in ((sizes[8], 8), (sizes[8] - 1, 4), (sizes[4], 4), (int(0.97 * sizes[4]), None)):
        made = rule.allocate(n_bytes)
        assert made.ceiling == ByteCeiling(n_bytes)
        assert made.is_rounded
        assert single_bits(made, INVENTORY) == expected
    # Without what it was made for, as in a table, a map counts by what it takes.
    at_eight = replace(rule.allocate(sizes[8]), ceiling=None, blocks=dense_at(analysis, 8).blocks)
    assert single_bits(at_eight, INVENTORY) == 8
    budget = Budget.of_kept_fraction(0.8, INVENTORY.compressible_params)
    request = Request(formats=frozenset({Format.LOW_RANK}))
    plain = allocate_rank_map(PLAIN, {Metric.LOSS: CURVES}, "water-filling", budget, request)
    assert single_bits(plain, INVENTORY) is None
