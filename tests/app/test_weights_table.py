"""The table of what can be compressed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.tables.weights import shapes
from engine.model.inventory import take_inventory
from tests.support import toys


@pytest.mark.parametrize(
    ("widths", "shown"),
    [
        ((96, 96, 96, 96), ["96 × 48"]),
        ((96, 64, 64, 96), ["96 × 48", "64 × 48"]),
        ((96, 64, 48, 80), ["48 to 96 × 48"]),
    ],
)
def test_layers_of_many_widths_are_one_row(widths, shown):
    whole = take_inventory(toys.build("llama"))
    group = next(group for group in whole.groups if group.members[0].kind == "gate")
    narrow = tuple(replace(group, members=tuple(replace(p, out_features=n) for p in group.members)) for n in widths)
    inventory = replace(whole, groups=narrow)
    table = shapes(inventory)
    gates = table[table["kind"] == "gate"]
    assert list(gates["shape (out × in)"]) == shown
    assert gates["count"].sum() == len(widths)
    assert gates["parameters"].sum() == 48 * sum(widths)
    assert set(gates["shares its input"]) == {"gate+up"}
