"""A sweep has more cases of tests that run in every short run, and no test of its own."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.support import toys
from tests.support.tiers import DIFFERENT

CAMPAIGNS = {"tests/browser/test_demo.py"}


def tiers_by(part: str, collected: tuple[pytest.Item, ...]) -> dict[str, set[str]]:
    """Return in which tiers the cases of every test, or of every file, are; the name ends before ``part``."""
    found = defaultdict(set)
    for item in collected:
        tier = next((name for name in ("long", "sweep") if item.get_closest_marker(name)), "short")
        found[item.nodeid.partition(part)[0]].add(tier)
    return found


def test_every_test_with_a_sweep_has_a_case_in_the_short_run(collected: tuple[pytest.Item, ...]) -> None:
    tiers = tiers_by("[", collected)
    assert not [test for test, its in tiers.items() if "sweep" in its and "short" not in its]


def test_every_file_but_campaigns_has_a_test_in_the_short_run(collected: tuple[pytest.Item, ...]) -> None:
    tiers = tiers_by("::", collected)
    assert {file for file, its in tiers.items() if "short" not in its} <= CAMPAIGNS


def test_the_architectures_of_the_short_run_are_some_of_all() -> None:
    assert set(DIFFERENT) < set(toys.ARCHITECTURES)
