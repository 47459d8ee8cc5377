"""A linear weight that runs on some tokens only, or more than once, stays as it is."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from engine.model.inventory import take_inventory
from tests.support import toys


class Twice(nn.Module):
    """Runs an MLP twice."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.mlp(self.mlp(x))


class FirstHalf(Twice):
    """Runs an MLP on the first half of the tokens, as a router could."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[1] // 2
        return torch.cat([self.mlp(x[:, :half]), x[:, half:]], 1)


@pytest.mark.parametrize(
    ("around", "reason"), [(Twice, "runs several times in one pass"), (FirstHalf, "runs on some tokens only")]
)
def test_it_is_listed_with_the_reason(around: type[Twice], reason: str) -> None:
    module = toys.build("llama")
    before = {p.name for p in take_inventory(module).projections}
    layer = module.model.layers[1]
    layer.mlp = around(layer.mlp)
    inventory = take_inventory(module)
    left = {weight.name for weight in inventory.skipped if weight.reason == reason}
    assert left == {f"model.layers.1.mlp.mlp.{name}_proj" for name in ("gate", "up", "down")}
    assert {p.name for p in inventory.projections} == {n for n in before if not n.startswith("model.layers.1.mlp.")}
