"""A rank map for a budget in time: milliseconds of a token, or tokens per second, on a device; free of torch.

Water-filling chooses by predicted time instead of parameters. Of every other method it is the largest map that is found
to be fast enough.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.allocation import TICKS_PER_S, Frontier, TimeChoices
from engine.devices.roofline import forecast, rest_seconds
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.methods.allocate import Request, rank_map_of, rule_of
from engine.methods.presets import get_preset
from engine.methods.targets import largest_within
from engine.rank_map.ceiling import USUAL_CONTEXT, TimeCeiling
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.allocation import Rule
    from engine.analysis.value import Analysis
    from engine.devices.roofline import TokenForecast
    from engine.devices.value import Device
    from engine.methods.allocate import CurvesByMetric
    from engine.rank_map.document import RankMap
    from engine.types import Allocation, BlockRank, Inventory


@dataclass(frozen=True, slots=True)
class Situation:
    """What a model would run on, and how it is used there.

    Attributes:
        name: of the device.
        device: it would run on.
        dtype: number type of the weights.
        batch: sequences at once.
        context: tokens of each in the cache.
    """

    name: str
    device: Device
    dtype: str
    batch: int = 1
    context: int = USUAL_CONTEXT

    def forecast(self, blocks: Sequence[BlockRank], inventory: Inventory) -> TokenForecast:
        """Return what a token costs under decisions; none are the dense model."""
        return forecast(blocks, inventory, self.device, dtype=self.dtype, batch=self.batch, context=self.context)

    def within(self, step_s: float) -> TimeCeiling:
        """Return what a map for so many seconds is recorded as made for."""
        return TimeCeiling(step_s, self.name, self.dtype, self.batch, self.context)

    def speed(self, step_s: float) -> str:
        """Return the time of a token for people, no less time and no more tokens than it is."""
        ms, tokens = _at_four_digits(1e3 * step_s, math.ceil), _at_four_digits(self.batch / step_s, math.floor)
        return f"{ms:.4g} ms per token ({tokens:,.4g} tokens/s)"


@dataclass(frozen=True, slots=True, eq=False)
class TimeRule:
    """What answers budgets in time: made once, asked for many.

    Attributes:
        analysis: of the model.
        method: name of the preset.
        situation: that times are predicted for.
        rule: of the method; a frontier's costs are time.
    """

    analysis: Analysis
    method: str
    situation: Situation
    rule: Rule

    def allocate(self, step_s: float) -> RankMap:
        """Return the method's best rank map with which a token is predicted to take at most so many seconds.

        Raises:
            InfeasibleBudgetError: the fastest takes longer.
            InvalidSpecError: the time is not above 0.
            RankScopeError: whatever the method raises at every budget.
        """
        if not step_s > 0:
            raise InvalidSpecError(f"The time {1e3 * step_s:g} ms per token was given; expected more than 0.")
        found = self._by_time(self.rule, step_s) if isinstance(self.rule, Frontier) else self._by_size(step_s)
        compressible = self.analysis.inventory.compressible_params
        named = rank_map_of(self.analysis, self.method, Budget(found.params, compressible), found)
        return replace(named, budget_params=None, ceiling=self.situation.within(step_s))

    def _by_time(self, frontier: Frontier, step_s: float) -> Allocation:
        inventory, used = self.analysis.inventory, self.situation
        best = frontier.within(int(frontier.costs[-1]))
        if used.forecast(best.blocks, inventory).step_s <= step_s:
            return best
        rest_s = rest_seconds(inventory, used.device, dtype=used.dtype, batch=used.batch, context=used.context)
        limit = int((step_s - rest_s) * TICKS_PER_S)
        if frontier.costs[0] > limit:
            raise self._too_fast(step_s, int(frontier.costs[0]) / TICKS_PER_S + rest_s)
        return frontier.within(limit)

    def _by_size(self, step_s: float) -> Allocation:
        inventory = self.analysis.inventory

        def seconds(allocation: Allocation) -> float:
            return self.situation.forecast(allocation.blocks, inventory).step_s

        def refuse(least_s: float) -> InfeasibleBudgetError:
            return self._too_fast(step_s, least_s)

        _, found = largest_within(self.rule.allocate, inventory.compressible_params, seconds, step_s, refuse)
        return found

    def _too_fast(self, asked_s: float, least_s: float) -> InfeasibleBudgetError:
        used = self.situation
        return InfeasibleBudgetError(
            f"The fastest map of {get_preset(self.method).title} is predicted to take {used.speed(least_s)} on "
            f"{used.device.title}, but {used.speed(asked_s)} was asked for; ask for no less time than that, release "
            "held ranks, or choose a faster device."
        )


def _at_four_digits(value: float, rounded: Callable[[float], int]) -> float:
    digits = 3 - math.floor(math.log10(value))
    # What has four digits already stays, although its double may be the last bit off.
    return rounded(float(f"{value:.12g}") * 10.0**digits) / 10.0**digits


def time_rule(
    analysis: Analysis, method: str, curves: CurvesByMetric, request: Request, situation: Situation
) -> TimeRule:
    """Return what a preset answers budgets in time with.

    Args:
        analysis: of the model.
        method: name of the preset.
        curves: of every analysed metric.
        request: what it is asked for beside a budget.
        situation: that times are predicted for.

    Raises:
        RankScopeError: unknown method, metric not analysed, or a request that does not fit.
    """
    used = situation
    choices = TimeChoices(used.device, used.dtype, used.batch, analysis.projections)
    return TimeRule(analysis, method, situation, rule_of(method, curves, request, choices))
