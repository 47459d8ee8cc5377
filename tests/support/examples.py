"""How many examples a law is tried on, in a short run and in a long one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

LEAST, MOST = 30, 100
"""Examples in a short run."""


def examples(in_a_long_run: int) -> settings:
    """Try a law on this many examples in a long run (``make test-long``), and on about a fifteenth in a short one."""
    is_long = settings.get_current_profile_name() == "long"
    return settings(max_examples=in_a_long_run if is_long else min(MOST, max(LEAST, in_a_long_run // 15)))


def long_unless(cases: Iterable[Any], short: Collection[Any]) -> list[Any]:
    """Return a test's parameters, those not in ``short`` marked for the long run."""
    return [case if case in short else pytest.param(case, marks=pytest.mark.long) for case in cases]
