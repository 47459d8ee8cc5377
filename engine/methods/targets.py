"""Budgets found from what people want: bytes of the whole model, or a predicted perplexity; free of torch.

A target is met by a search over budgets in whole parameters, so it works with every rule that chooses ranks.
Where the rule's answers change monotonously with the budget the result is the best there is; in any case the
target holds and a budget of one parameter more (or less) would miss it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.precision import model_bytes, require_size_type
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.allocation import Rule
    from engine.types import Allocation, Inventory

    Allocate = Callable[[Budget], Allocation]


def allocate_within_bytes(
    allocate: Allocate, inventory: Inventory, dtype: str, n_bytes: float
) -> tuple[Budget, Allocation]:
    """Return the largest budget whose allocation makes the whole model at most ``n_bytes`` large, and that allocation.

    Args:
        allocate: gives the allocations.
        inventory: of the dense model.
        dtype: type that the bytes are counted in.
        n_bytes: of the whole model at most.

    Raises:
        InfeasibleBudgetError: the smallest allocation is larger.
        InvalidSpecError: the type is not known.
        RankScopeError: whatever ``allocate`` raises at every budget.
    """
    require_size_type(dtype)

    def size(allocation: Allocation) -> int:
        return model_bytes(dtype, allocation.blocks, inventory)

    def refuse(smallest: float) -> InfeasibleBudgetError:
        return InfeasibleBudgetError(
            f"{n_bytes / 1e6:.4g} MB were asked for, but the smallest this method makes the model is "
            f"{_rounded_up(smallest / 1e6)} MB; ask for at least that, release held ranks, or choose a smaller type."
        )

    return largest_within(allocate, inventory.compressible_params, size, n_bytes, refuse)


def largest_within(
    allocate: Allocate,
    compressible_params: int,
    measure: Callable[[Allocation], float],
    limit: float,
    refuse: Callable[[float], InfeasibleBudgetError],
) -> tuple[Budget, Allocation]:
    """Return the largest budget whose allocation measures at most ``limit``, and that allocation.

    Args:
        allocate: gives the allocations.
        compressible_params: of all projections when dense.
        measure: what is limited.
        limit: of what is measured.
        refuse: makes the error of what the smallest allocation measures, where that is more.

    Raises:
        InfeasibleBudgetError: that of ``refuse``.
        RankScopeError: whatever ``allocate`` raises at every budget.
    """

    def measured(params: int) -> float:
        return measure(allocate(Budget(params, compressible_params)))

    low = smallest_budget(allocate, compressible_params)
    if measured(compressible_params) <= limit:
        return _answer(allocate, compressible_params, compressible_params)
    smallest = measured(low)
    if smallest > limit:
        raise refuse(smallest)
    best = _last_where(lambda params: measured(params) <= limit, low, compressible_params)
    return _answer(allocate, best, compressible_params)


def allocate_to_ratio(
    rule: Rule, predict_ratio: Callable[[float], float], ratio: float, compressible_params: int
) -> tuple[Budget, Allocation]:
    """Return the smallest of a rule's budgets whose predicted perplexity over dense is at most ``ratio``.

    Args:
        rule: gives the allocations.
        predict_ratio: from an allocation's nats to perplexity over dense, increasing.
        ratio: at least 1.
        compressible_params: of all projections when dense.

    Returns:
        The budget and its allocation.

    Raises:
        InvalidSpecError: the ratio is below 1 or not a number.
        InfeasibleBudgetError: even at the largest budget more is predicted.
    """
    if not ratio >= 1:
        raise InvalidSpecError(
            f"The perplexity ratio {ratio:.4g} was given; expected a number of at least 1, which is the dense model's, "
            "for example 1.2 for a perplexity 20 % above it."
        )
    budgets = rule.budgets

    def ratio_at(place: int) -> float:
        return predict_ratio(rule.allocate(Budget(budgets[place], compressible_params)).nats)

    def misses(place: int) -> bool:
        try:
            return not ratio_at(place) <= ratio
        except InfeasibleBudgetError:
            return True

    last = len(budgets) - 1
    least = ratio_at(last)
    if not least <= ratio:
        raise InfeasibleBudgetError(
            f"A perplexity ratio of {ratio:g} was asked for, but with all parameters the held ranks let the method "
            f"use {_rounded_up(least)} is predicted; ask for at least that, or release held ranks."
        )
    place = _last_where(misses, 0, last) + 1 if misses(0) else 0
    return _answer(rule.allocate, budgets[place], compressible_params)


def smallest_budget(allocate: Allocate, compressible_params: int) -> int:
    """Return the fewest parameters at which ``allocate`` has an answer.

    Raises:
        RankScopeError: it has none at the full budget either.
    """
    allocate(Budget(compressible_params, compressible_params))

    def has_none(params: int) -> bool:
        try:
            allocate(Budget(params, compressible_params))
        except InfeasibleBudgetError:
            return True
        return False

    return _last_where(has_none, 0, compressible_params) + 1 if has_none(0) else 0


def _last_where(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return a number at which ``holds`` and after which it does not, between ``low`` (holds) and ``high`` (not)."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _answer(allocate: Allocate, params: int, compressible_params: int) -> tuple[Budget, Allocation]:
    budget = Budget(params, compressible_params)
    return budget, allocate(budget)


def _rounded_up(value: float) -> str:
    """Return a number with four decimals that is not below ``value``."""
    return f"{np.ceil(value * 1e4) / 1e4:.4f}"
