"""Which cases of a test run in ``make test``, which only in ``make test-sweeps``, and which only in a long run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import toys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def sweep_unless(cases: Iterable[Any], different: Collection[Any]) -> list[Any]:
    """Return a test's parameters, those not in ``different`` marked as more of the same."""
    return [case if case in different else pytest.param(case, marks=pytest.mark.sweep) for case in cases]


def long_unless(cases: Iterable[Any], short: Collection[Any]) -> list[Any]:
    """Return a test's parameters, those not in ``short`` marked for the long run."""
    return [case if case in short else pytest.param(case, marks=pytest.mark.long) for case in cases]


DIFFERENT = ("llama-gqa", "phi3", "opt", "gpt2", "mixtral", "qwen2-moe")
"""Tied and shared keys; projections in one weight; biases; transposed weights; experts alone, and beside an MLP."""

FEW = ("llama-gqa", "gpt2", "qwen2-moe")
"""Tied and shared keys; transposed weights with biases, some in one weight; experts beside an MLP."""

every_architecture = pytest.mark.parametrize("name", sweep_unless(toys.ARCHITECTURES, DIFFERENT))
every_architecture_at_length = pytest.mark.parametrize("name", sweep_unless(toys.ARCHITECTURES, FEW))
"""For tests that take seconds, of what has been shown piece by piece on :data:`DIFFERENT`."""
