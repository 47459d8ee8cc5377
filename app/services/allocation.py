"""What every method would do at a budget; cached by analysis, budget, held ranks and the trials there are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.components.rank_board.curves import board_step, encode_curves, evaluated_json
from app.costed_maps import CostedMap, NoMap
from app.services.analyses import analysis, curves
from app.services.home import store, stored_of
from cache import fingerprint
from engine.errors import InfeasibleBudgetError, RankScopeError
from engine.methods import cost
from engine.methods.allocate import Request, Target, allocate_to_target, rank_map_of, rule_of
from engine.methods.editing import HeldRanks, held_blocks
from engine.methods.presets import PRESETS, AllocationSettings, get_preset
from engine.pipeline.reading import trials as searched
from engine.prediction.power_law import MeasuredRun, Predictor
from engine.prediction.runs import calibration
from engine.rank_map.drafts import MapRequest
from engine.types import Budget, Metric

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.allocation import EvaluatedMap, PredictedMaps, Rule
    from engine.results.texts import MeasuredText

KEPT_STEPS = tuple(k / 20 for k in range(6, 21))
"""Kept fractions at which every method's predicted curve is drawn."""


_TOO_SMALL_FOR_HELD: Final = (
    "The held ranks need more than this budget, even with all other ranks at their minimum; release some or raise the "
    "budget."
)

CurvePoint = tuple[float, float, float, float]
"""Kept fraction, predicted perplexity over dense, and the ends of its interval."""


def method_map(analysis_id: str, method: str, budget_params: int, held: HeldRanks = ()) -> CostedMap:
    """Return a method's rank map at a budget.

    Raises:
        RankScopeError: it has none.
    """
    return _costed_map(analysis_id, method, budget_params, held, trials_of(method))


@st.cache_data(max_entries=512, show_spinner=False)
def _costed_map(analysis_id: str, method: str, budget_params: int, held: HeldRanks, trials: str) -> CostedMap:
    analysed = analysis(analysis_id)
    budget = Budget(budget_params, analysed.inventory.compressible_params)
    allocation = _rule(analysis_id, method, held, trials).allocate(budget)
    rank_map = rank_map_of(analysed, method, budget, allocation)
    return CostedMap(method, rank_map, cost.cost_of(analysed, rank_map))


def method_rule(analysis_id: str, method: str, held: HeldRanks) -> Rule:
    """Return what a method answers budgets in parameters with.

    Raises:
        RankScopeError: the analysis does not serve the method, or a held rank does not fit.
    """
    return _rule(analysis_id, method, held, trials_of(method))


@st.cache_resource(max_entries=40, show_spinner=False)
def _rule(analysis_id: str, method: str, held: HeldRanks, trials: str) -> Rule:
    """Return what a method answers budgets with; with held ranks it is made from that without."""
    preset = get_preset(method)
    if held:
        blocks = held_blocks(held, preset.formats, analysis(analysis_id))
        return _rule(analysis_id, method, (), trials).around(blocks)
    steps = AllocationSettings(rank_step=board_rank_step(analysis_id)).limited_to(preset)
    request = Request(settings=steps)
    if preset.needs_search:
        request = replace(
            request, evaluated=_evaluated_maps(analysis_id, trials), predicted=_predicted_maps(analysis_id)
        )
    return rule_of(method, curves(analysis_id), request)


def map_to_ratio(analysis_id: str, method: str, ratio: float, text: MeasuredText | None, held: HeldRanks) -> CostedMap:
    """Return the smallest rank map a method has whose predicted perplexity over dense is at most ``ratio``.

    Args:
        analysis_id: of the analysis.
        method: name of a preset.
        ratio: at least 1.
        text: that predictions are calibrated on.
        held: ranks held by hand.

    Raises:
        RankScopeError: it has none.
    """
    return _map_to_ratio(analysis_id, method, ratio, calibration(text), held, trials_of(method))


@st.cache_data(max_entries=512, show_spinner=False)
def _map_to_ratio(
    analysis_id: str, method: str, ratio: float, runs: tuple[MeasuredRun, ...], held: HeldRanks, trials: str
) -> CostedMap:
    analysed = analysis(analysis_id)
    rule = _rule(analysis_id, method, held, trials)
    rank_map = allocate_to_target(analysed, method, rule, Target(perplexity_ratio=ratio), Predictor.fit(runs))
    return CostedMap(method, rank_map, cost.cost_of(analysed, rank_map))


@st.cache_resource(max_entries=4, show_spinner=False)
def _evaluated_maps(analysis_id: str, trials: str) -> tuple[EvaluatedMap, ...]:  # noqa: ARG001 - part of the cache's key
    return tuple(searched.evaluated_maps(store(), analysis_id))


@st.cache_resource(max_entries=4, show_spinner=False)
def _predicted_maps(analysis_id: str) -> PredictedMaps | None:
    return searched.predicted_maps(analysis(analysis_id))


def trials_of(method: str) -> str:
    """Name the trials that a method's maps rest on; empty where they rest on none."""
    return _trials_there() if get_preset(method).needs_search else ""


def _trials_there() -> str:
    """Name the trials that are stored: they grow while a search runs, unlike all else that is cached."""
    return fingerprint("trials", list(stored_of("trial")), [], schema_version=1)


@st.cache_data(max_entries=16, show_spinner=False)
def board_rank_step(analysis_id: str) -> int:
    """Return what ranks on the board are multiples of."""
    return max(map(board_step, curves(analysis_id).values()))


@st.cache_resource(max_entries=4, show_spinner="Packing the curves for the rank board")
def board_curves(analysis_id: str) -> tuple[str, bytes]:
    """Return an analysis's curves as the rank board reads them, and the name they go by there."""
    step = board_rank_step(analysis_id)
    name = f"{analysis_id}.{step}"
    return name, encode_curves(curves(analysis_id), step, name, _predicted_maps(analysis_id))


def board_trials(analysis_id: str) -> list[dict[str, object]]:
    """Return the maps that searches have measured, as the rank board reads them."""
    return _board_trials(analysis_id, _trials_there())


@st.cache_data(max_entries=4, show_spinner=False)
def _board_trials(analysis_id: str, trials: str) -> list[dict[str, object]]:
    by_metric = curves(analysis_id)
    if Metric.FEATURE not in by_metric:
        return []
    return evaluated_json(_evaluated_maps(analysis_id, trials), by_metric[Metric.FEATURE])


def method_maps(analysis_id: str, budget_params: int, held: HeldRanks = ()) -> list[CostedMap | NoMap]:
    """Return what every method would do at a budget, in the order methods are shown."""
    return of_every_method(lambda method: method_map(analysis_id, method, budget_params, held), held)


def maps_for(
    analysis_id: str, request: MapRequest, dense_perplexity: float, text: MeasuredText | None
) -> list[CostedMap | NoMap]:
    """Return what every method would do to meet a request, in the order methods are shown.

    Args:
        analysis_id: of the analysis.
        request: a kept fraction, or a perplexity on the text.
        dense_perplexity: of the dense model on the text.
        text: that predictions are calibrated on.
    """
    if request.target is not None and request.target < dense_perplexity:
        reason = f"The dense model itself has a perplexity of {dense_perplexity:.2f}; set a higher target."
        return [NoMap(method, reason) for method in PRESETS]
    if request.target is not None:
        ratio = request.target / dense_perplexity
        return of_every_method(lambda method: map_to_ratio(analysis_id, method, ratio, text, request.held))
    compressible = analysis(analysis_id).inventory.compressible_params
    return method_maps(analysis_id, Budget.of_kept_fraction(request.keep, compressible).params, request.held)


def of_every_method(make: Callable[[str], CostedMap], held: HeldRanks = ()) -> list[CostedMap | NoMap]:
    """Return the maps that methods make, or why they make none, in the order methods are shown."""
    result: list[CostedMap | NoMap] = []
    for method in PRESETS:
        try:
            result.append(make(method))
        except InfeasibleBudgetError as error:
            result.append(NoMap(method, _TOO_SMALL_FOR_HELD if held else str(error)))
        except RankScopeError as error:
            result.append(NoMap(method, str(error)))
    return result


@st.cache_data(max_entries=8, show_spinner="Predicting every method at every budget")
def _discarded_curves(analysis_id: str, trials: str) -> dict[str, list[tuple[float, float]]]:  # noqa: ARG001
    """Return method -> (kept fraction, half the discarded energy in nats) without held ranks."""
    compressible = analysis(analysis_id).inventory.compressible_params
    curves: dict[str, list[tuple[float, float]]] = {}
    for kept in KEPT_STEPS:
        for one in method_maps(analysis_id, Budget.of_kept_fraction(kept, compressible).params):
            if isinstance(one, CostedMap):
                point = one.cost.kept_fraction, one.cost.nats
                points = curves.setdefault(one.method, [])
                if point not in points:
                    points.append(point)
    return curves


def predicted_curves(analysis_id: str, predictor: Predictor) -> dict[str, list[CurvePoint]]:
    """Return method -> (kept fraction, predicted perplexity over dense, lowest, highest) without held ranks."""
    return {
        method: [(kept, *predictor.predict(nats, get_preset(method).metric).perplexities()) for kept, nats in points]
        for method, points in _discarded_curves(analysis_id, _trials_there()).items()
    }
