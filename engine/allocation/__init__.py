"""Rules that turn curves and a budget into a rank for every block; pure functions, free of torch."""

from engine.allocation._base import Allocator, allocators
from engine.allocation._bits import BitChoices
from engine.allocation._blocks import FEWEST_STEPS, LARGEST_STEP
from engine.allocation._choices import IN_PARAMETERS, Choices
from engine.allocation._evaluated import MEASURED_REACH, EvaluatedMap, PredictedMaps, SearchKind, best_searched
from engine.allocation._flrc import LEAST_WEIGHT, allocate_by_importance
from engine.allocation._frontier import Frontier, build_frontier
from engine.allocation._hull import MOST_BRIDGED
from engine.allocation._membership import check_membership
from engine.allocation._rules import BestSearched, BudgetByBudget, Rule
from engine.allocation._time import TICKS_PER_S, TimeChoices
from engine.allocation._uniform import allocate_uniformly
from engine.allocation._water_filling import allocate_by_water_filling

__all__ = [
    "FEWEST_STEPS",
    "IN_PARAMETERS",
    "LARGEST_STEP",
    "LEAST_WEIGHT",
    "MEASURED_REACH",
    "MOST_BRIDGED",
    "TICKS_PER_S",
    "Allocator",
    "BestSearched",
    "BitChoices",
    "BudgetByBudget",
    "Choices",
    "EvaluatedMap",
    "Frontier",
    "PredictedMaps",
    "Rule",
    "SearchKind",
    "TimeChoices",
    "allocate_by_importance",
    "allocate_by_water_filling",
    "allocate_uniformly",
    "allocators",
    "best_searched",
    "build_frontier",
    "check_membership",
]
