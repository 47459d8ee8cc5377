from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.allocation import BudgetByBudget, build_frontier
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.methods.targets import (
    allocate_to_ratio,
    allocate_within_bytes,
    smallest_budget,
)
from engine.precision import model_bytes, require_size_type
from engine.types import Format
from tests.support.examples import examples
from tests.support.strategies import FACTORED, assert_keeps_the_contract, seeds, toy_locks, toy_model, toy_models

METHODS = st.sampled_from(("uniform", "flrc", "water-filling"))
MIXES = [frozenset(f for f, bit in zip(FACTORED, (1, 2, 4, 8), strict=True) if n & bit) for n in range(1, 16)]
toys = {
    "model": toy_models(truncated=False),
    "lock_seed": seeds,
    "locked": st.sampled_from((0.0, 0.0, 0.4)),
    "mix": st.sampled_from(MIXES),
}


def ratio_of(nats):
    return math.exp(min(0.9 * nats**0.8, 700.0))


def rule_for(method, model, mix, locks):
    formats = mix if method == "water-filling" else frozenset(sorted(mix)[:1])
    return BudgetByBudget(method, model.groups, formats, locks, {}), formats


@examples(1500)
@given(**toys, method=METHODS, share=st.floats(0, 1.2), dtype=st.sampled_from(("int4", "int8", "float16", "float32")))
def test_never_over_the_bytes_and_one_parameter_more_is(model, lock_seed, locked, mix, method, share, dtype):
    locks = toy_locks(model, lock_seed, locked)
    rule, formats = rule_for(method, model, mix, locks)
    allocate = rule.allocate
    n_bytes = share * model_bytes(dtype, (), model.inventory)

    def size(allocation):
        return model_bytes(dtype, allocation.blocks, model.inventory)

    try:
        budget, found = allocate_within_bytes(allocate, model.inventory, dtype, n_bytes)
    except InfeasibleBudgetError:
        if not can_be_allocated(allocate, model):
            return
        low = smallest_budget(allocate, model.total)
        assert size(allocate(model.budget(low))) > n_bytes
        return
    assert_keeps_the_contract(found, model, budget, formats, locks)
    assert size(found) <= n_bytes
    if budget.params < model.total:
        assert size(allocate(model.budget(budget.params + 1))) > n_bytes


@examples(1000)
@given(**toys, method=METHODS, ratio=st.floats(1, 20))
def test_the_predicted_ratio_holds_and_one_parameter_less_exceeds_it(model, lock_seed, locked, mix, method, ratio):
    locks = toy_locks(model, lock_seed, locked)
    rule, formats = rule_for(method, model, mix, locks)
    allocate = rule.allocate
    if not can_be_allocated(allocate, model):
        return
    try:
        budget, found = allocate_to_ratio(rule, ratio_of, ratio, model.total)
    except InfeasibleBudgetError as error:
        least = ratio_of(allocate(model.budget(model.total)).nats)
        assert least > ratio
        nearest = float(re.search(r"use ([0-9.]+) is predicted", str(error))[1])
        assert least <= nearest <= least * 1.001 + 1e-4
        return
    assert_keeps_the_contract(found, model, budget, formats, locks)
    assert ratio_of(found.nats) <= ratio
    if budget.params > smallest_budget(allocate, model.total):
        assert ratio_of(allocate(model.budget(budget.params - 1)).nats) > ratio


@examples(1500)
@given(**toys, ratio=st.floats(1, 20))
def test_on_the_frontier_it_is_the_cheapest_vertex(model, lock_seed, locked, mix, ratio):
    locks = toy_locks(model, lock_seed, locked)
    frontier = build_frontier(model.groups, formats=mix, locks=locks)
    every = [frontier.allocate(model.budget(int(cost))) for cost in frontier.costs]
    reaching = [a for a in every if ratio_of(a.nats) <= ratio]
    if not reaching:
        with pytest.raises(InfeasibleBudgetError, match="release held ranks"):
            allocate_to_ratio(frontier, ratio_of, ratio, model.total)
        return
    budget, found = allocate_to_ratio(frontier, ratio_of, ratio, model.total)
    assert found == min(reaching, key=lambda a: a.params)
    assert budget.params == found.params
    assert_keeps_the_contract(found, model, budget, mix, locks)
    place = every.index(found)
    assert place == 0 or ratio_of(every[place - 1].nats) > ratio


@given(**toys, method=METHODS)
@examples(300)
def test_the_smallest_budget_has_an_answer_and_one_less_has_none(model, lock_seed, locked, mix, method):
    allocate = rule_for(method, model, mix, toy_locks(model, lock_seed, locked))[0].allocate
    if not can_be_allocated(allocate, model):
        return
    low = smallest_budget(allocate, model.total)
    allocate(model.budget(low))
    if low:
        with pytest.raises(InfeasibleBudgetError):
            allocate(model.budget(low - 1))


def can_be_allocated(allocate, model):
    """Whether the locks leave anything: together they may cost more than the dense model."""
    try:
        allocate(model.budget(model.total))
    except InfeasibleBudgetError:
        return False
    return True


@pytest.mark.parametrize("ratio", [0.99, 0.0, -1.0, math.nan])
def test_a_ratio_below_one_is_a_sentence(ratio):
    with pytest.raises(InvalidSpecError, match="at least 1"):
        allocate_to_ratio(rule_for("uniform", toy_of(3), frozenset({Format.SKIP}), ())[0], ratio_of, ratio, 10)


def test_an_unknown_type_is_a_sentence():
    with pytest.raises(InvalidSpecError, match="float32, bfloat16, float16, int8, int4"):
        require_size_type("int2")


def test_too_few_bytes_name_the_nearest_that_fit():
    model = next(m for m in map(toy_of, range(20)) if m.total > 200)
    allocate = rule_for("water-filling", model, frozenset({Format.SKIP}), ())[0].allocate
    with pytest.raises(InfeasibleBudgetError) as caught:
        allocate_within_bytes(allocate, model.inventory, "float16", 1)
    nearest = float(re.search(r"is ([0-9.]+) MB", str(caught.value))[1])
    _, found = allocate_within_bytes(allocate, model.inventory, "float16", nearest * 1e6)
    assert model_bytes("float16", found.blocks, model.inventory) <= nearest * 1e6


def toy_of(seed):
    return toy_model(seed, 4, 12, "spectrum")


def test_bytes_count_everything_that_is_stored():
    model = toy_of(3)
    inventory = replace(model.inventory, total_params=model.total + 1000)
    allocate = rule_for("uniform", model, frozenset({Format.SKIP}), ())[0].allocate
    found = allocate(model.budget(model.total // 2))
    skipped = [b for b in found.blocks if b.format.skips]
    assert skipped
    widths = np.array([model.projections[b.members[0]].in_features for b in skipped])
    assert model_bytes("float32", found.blocks, inventory) == 4 * (1000 + found.params) + 4 * widths.sum()
