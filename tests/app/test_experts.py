"""What pages say of the experts of a mixture."""

from __future__ import annotations

from app.tables.weights import shapes
from engine.model.inventory import take_inventory
from tests.support import toys


def test_tables_say_how_many_experts_there_are():
    table = shapes(take_inventory(toys.build("qwen3-moe")))
    of_experts = table[table["kind"] == "experts.gate_up"].iloc[0]
    assert of_experts["shape (out × in)"] == "64 × 48, 8 experts"
    assert of_experts["parameters"] == 3 * 8 * 64 * 48
