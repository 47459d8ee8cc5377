"""Weights that an export stores as integers: the very ones that rounding leaves, in the bytes that are counted."""

from __future__ import annotations

import pytest
import torch

from engine.export.modeling import RoundedLinear
from engine.precision import ROUNDINGS
from engine.quantization.rounding import round_matrix, round_to_integers


@pytest.mark.parametrize("bits", sorted(ROUNDINGS))
@pytest.mark.parametrize("shape", [(5, 1), (3, 31), (4, 32), (7, 65), (2, 128)])
def test_it_has_the_rounded_weights_in_the_counted_bytes(bits, shape):
    rounding = ROUNDINGS[bits]
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(bits))
    linear = RoundedLinear(*round_to_integers(weight, rounding), bits, rounding.group_size, torch.ones(shape[0]))
    assert torch.equal(linear.weight_as(torch.float32), round_matrix(weight, rounding))
    stored = sum(tensor.nbytes for name, tensor in linear.state_dict().items() if name != "bias")
    assert stored == rounding.matrix_bytes(*shape)
    x = torch.randn(2, shape[1])
    assert torch.allclose(linear(x), x @ round_matrix(weight, rounding).T + 1, atol=1e-5)
    moved = linear.half()
    assert torch.equal(moved.scales, linear.scales)
    assert moved.integers.dtype in {torch.int8, torch.uint8}
