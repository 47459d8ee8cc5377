"""A sweep has more cases of tests that run in every short run, and no test of its own."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import pytest

from tests.support import toys
from tests.support.tiers import DIFFERENT, FEW

if TYPE_CHECKING:
    from collections.abc import Callable

CAMPAIGNS = {"tests/browser/test_demo.py"}


def tiers_by(of: Callable[[pytest.Item], str], collected: tuple[pytest.Item, ...]) -> dict[str, set[str]]:
    """Return in which tiers the cases of every test, or of every file, are."""
    found = defaultdict(set)
    for item in collected:
        found[of(item)].add(next((name for name in ("long", "sweep") if item.get_closest_marker(name)), "short"))
    return found


def what_it_shows(item: pytest.Item) -> str:
    """Return what an item is a case of; a test of a contract is the same in every class that inherits it."""
    name = item.nodeid.partition("[")[0]
    return name.rpartition("::")[2] if "::Test" in name else name


def test_every_test_with_a_sweep_has_a_case_in_the_short_run(collected: tuple[pytest.Item, ...]) -> None:
    tiers = tiers_by(what_it_shows, collected)
    assert not [test for test, its in tiers.items() if "sweep" in its and "short" not in its]


def test_every_file_but_campaigns_has_a_test_in_the_short_run(collected: tuple[pytest.Item, ...]) -> None:
    tiers = tiers_by(lambda item: item.nodeid.partition("::")[0], collected)
    assert {file for file, its in tiers.items() if "short" not in its} <= CAMPAIGNS


def test_the_architectures_of_the_short_run_are_some_of_all() -> None:
    assert set(FEW) < set(DIFFERENT) < set(toys.ARCHITECTURES)
