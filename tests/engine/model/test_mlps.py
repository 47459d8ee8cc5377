"""The MLPs that are found, by tracing real classes at toy size."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch import nn

from engine.model.inventory import InventoryTaking, take_inventory
from engine.model.stepping import LayerSteps
from engine.types import Inventory
from tests.support import architectures, toys

MEMBERS = {
    "llama": ["gate", "up", "down"],
    "qwen3": ["gate", "up", "down"],
    "gemma": ["gate", "up", "down"],
    "phi3": ["gate_up", "down"],
    "opt": ["fc1", "fc2"],
    "gpt2": ["c_fc", "mlp.c_proj"],
}


@pytest.mark.parametrize("name", MEMBERS)
def test_gated_plain_and_fused_mlps_are_found_in_every_layer(name):
    inventory = take_inventory(toys.build(name))
    assert [[p.kind for p in mlp.members] for mlp in inventory.mlps] == [MEMBERS[name]] * inventory.n_layers
    assert [mlp.layer for mlp in inventory.mlps] == list(range(inventory.n_layers))
    (mlp, *_) = inventory.mlps
    assert mlp.neurons == mlp.down.in_features
    assert mlp.params_per_neuron * mlp.neurons == sum(p.params for p in mlp.members)


@pytest.mark.parametrize(
    "name",
    [
        "bitnet",  # a norm over all neurons stands between up and down
        "mamba",  # a convolution mixes tokens
        "mixtral",  # experts are one tensor
    ],
)
def test_what_is_not_elementwise_is_no_mlp(name):
    assert take_inventory(architectures.build(name).eval()).mlps == ()


def test_attention_output_is_no_mlp_though_values_reach_it_channel_by_channel():
    inventory = take_inventory(toys.build("llama"))
    assert all("o_proj" not in mlp.name for mlp in inventory.mlps)


class _ReadTwice(nn.Module):
    """An MLP whose activations also leave it by another way."""

    def __init__(self, mlp: nn.Module) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.mlp.act_fn(self.mlp.gate_proj(x)) * self.mlp.up_proj(x)
        return self.mlp.down_proj(hidden) + hidden[..., -x.shape[-1] :]


def taken_by_layer(module: nn.Module) -> Inventory:
    taking = InventoryTaking(module, LayerSteps(module), lambda _: contextlib.nullcontext())
    for layer in range(3):
        taking.trace(layer)
        taking.group(layer)
    return taking.finished()


@pytest.mark.parametrize("take", [take_inventory, taken_by_layer])
def test_neurons_that_something_else_reads_are_found_out_by_running_without_them(take):
    module = toys.build("llama")
    module.model.layers[1].mlp = _ReadTwice(module.model.layers[1].mlp)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    inventory = take(module)
    assert [mlp.layer for mlp in inventory.mlps] == [0, 2]
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
