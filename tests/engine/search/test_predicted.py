"""Searches on predictions: exact, within every budget, and replaced by what is measured."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from engine.allocation import EvaluatedMap, SearchKind
from engine.analysis.curves import group_curves
from engine.errors import InfeasibleBudgetError, InvalidRankMapError, NumericalError
from engine.formats import allocated_params
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.search.predicted import MOST_MAPS, search_predictions
from engine.search.space import LOWEST, SearchSpace
from engine.types import BlockRank, Budget, Format, InputGroup, Inventory, Metric, Projection
from tests.support.bare_board import made_up_analysis


def small_model(seed: int) -> tuple[Inventory, dict[str, np.ndarray]]:
    """Two layers of three kinds, narrow enough that every point of their space can be tried."""
    rng = np.random.default_rng(seed)
    shapes = {"o": (48, 48), "up": (48, 80), "down": (80, 48)}
    groups = tuple(
        InputGroup((Projection(f"{layer}.{kind}", layer, kind, out, width),))
        for layer in range(2)
        for kind, (width, out) in shapes.items()
    )
    inventory = Inventory("Made", 2, groups, (), 10**6)
    curves = {
        p.name: np.append(np.cumsum(rng.lognormal(-6, 2, min(p.in_features, p.out_features)))[::-1], 0.0)
        for p in inventory.projections
    }
    return inventory, curves


@pytest.mark.parametrize("seed", range(4))
def test_no_point_of_the_space_is_predicted_to_be_better_at_any_size(seed):
    inventory, curves = small_model(seed)
    found = search_predictions(inventory, curves)
    space = SearchSpace.of(inventory)
    fractions = np.linspace(LOWEST, 1, 60)
    levels = []
    for variable in space.variables:
        decided = {tuple(space.decide(p, x).rank for p in variable.projections): x for x in fractions}
        levels.append([(variable.name, x) for x in decided.values()])
    total = inventory.compressible_params
    for point in map(dict, product(*levels)):
        blocks = space.blocks(point)
        nats = sum(float(curves[b.members[0]][b.rank]) for b in blocks if b.rank is not None)
        best = found.best(Budget(allocated_params(blocks, inventory), total))
        assert best is not None
        assert best.nats <= nats * (1 + 1e-12)


@pytest.mark.parametrize("n_layers", [2, 30])
def test_every_budget_is_kept_and_every_map_is_what_it_says(n_layers):
    analysis = made_up_analysis(n_layers, 64)
    total = analysis.inventory.compressible_params
    curves = {metric: group_curves(analysis, metric) for metric in analysis.nats}
    request = Request(predicted=search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE]))
    before = float("inf")
    for kept in np.linspace(0.3, 1, 60):
        budget = Budget.of_kept_fraction(float(kept), total)
        rank_map = allocate_rank_map(analysis, curves, "bolaco", budget, request)
        cost = cost_of(analysis, rank_map)
        assert cost.params <= budget.params
        assert cost.nats <= before
        assert request.search_behind(rank_map) is SearchKind.PREDICTED
        found = request.predicted.best(budget)
        assert (found.params, found.nats) == (cost.params, cost.nats)
        before = cost.nats
    assert cost.params == total
    assert cost.nats == 0


def test_the_same_curves_give_the_same_maps_and_few_enough_to_send():
    analysis = made_up_analysis(4, 768)
    first, second = (search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE]) for _ in range(2))
    assert first == second
    assert 300 < len(first.params) <= MOST_MAPS
    assert list(first.params) == sorted(set(first.params))
    gaps = np.diff(first.params) / analysis.inventory.compressible_params
    assert gaps.max() < 0.005


def test_values_stay_dense_beside_query_and_key():
    analysis = made_up_analysis(3, 64)
    found = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])
    for place in (0, len(found.params) // 2):
        ranks = {b.members[0]: b.rank for b in found.blocks(place)}
        assert {ranks[name] for name in ranks if name.endswith(".v")} == {None}
    assert any(rank is not None for rank in ranks.values())


def test_a_measured_map_near_the_budget_replaces_the_predicted_one():
    analysis = made_up_analysis(3, 64)
    total = analysis.inventory.compressible_params
    curves = {metric: group_curves(analysis, metric) for metric in analysis.nats}
    predicted = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])
    uniform = SearchSpace.of(analysis.inventory)
    blocks = uniform.blocks(uniform.uniform(0.7))
    measured = EvaluatedMap(blocks, allocated_params(blocks, analysis.inventory), 30.0, "m", "1")
    request = Request(evaluated=[measured], predicted=predicted)

    def answer(kept):
        rank_map = allocate_rank_map(analysis, curves, "bolaco", Budget.of_kept_fraction(kept, total), request)
        return rank_map.blocks, request.search_behind(rank_map)

    kept = measured.params / total
    for above in (0.0001, 0.05, 0.099):
        assert answer(kept + above) == (blocks, SearchKind.MEASURED)
    for other in (kept - 0.001, kept + 0.101, 1.0):
        found, kind = answer(other)
        assert kind is SearchKind.PREDICTED
        assert found == predicted.best(Budget.of_kept_fraction(other, total)).blocks


def test_what_cannot_be_answered_is_a_sentence():
    analysis = made_up_analysis(2, 64)
    total = analysis.inventory.compressible_params
    curves = {metric: group_curves(analysis, metric) for metric in analysis.nats}
    predicted = search_predictions(analysis.inventory, analysis.nats[Metric.FEATURE])

    def allocate(kept, **asked):
        budget = Budget.of_kept_fraction(kept, total)
        return allocate_rank_map(analysis, curves, "bolaco", budget, Request(predicted=predicted, **asked))

    with pytest.raises(InfeasibleBudgetError, match="raise the kept fraction to at least") as error:
        allocate(0.1)
    smallest = float(str(error.value).rsplit(" ", 1)[1].rstrip("."))
    assert allocate(smallest).blocks == predicted.blocks(0)
    with pytest.raises(InfeasibleBudgetError):
        allocate(smallest - 0.0002)
    with pytest.raises(InvalidRankMapError, match="cannot hold a rank of"):
        allocate(0.8, locks=[BlockRank(("layers.0.o",), Format.LOW_RANK, 4)])
    broken = {name: np.full_like(curve, np.nan) for name, curve in analysis.nats[Metric.FEATURE].items()}
    with pytest.raises(NumericalError, match="analyse the model again"):
        search_predictions(analysis.inventory, broken)
