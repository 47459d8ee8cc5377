"""Rounded weights: what torchao makes of them, what they take, and that nothing else of a model changes."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
import torchao.quantization as torchao
from torch import nn

from engine.compression.apply import compress
from engine.errors import ModelError
from engine.formats import allocated_params, index_bytes
from engine.model.inventory import take_inventory
from engine.precision import ROUNDINGS, matrix_shapes, model_bytes
from engine.quantization.rounding import round_matrix, rounded
from engine.types import BlockRank, Format
from tests.support import toys

BITS = pytest.mark.parametrize("bits", sorted(ROUNDINGS))
TOKENS = toys.tokens(2, 16, seed=3)


@pytest.fixture(scope="module")
def llama():
    return toys.factored("llama-gqa", toys.tokens(4, 24))


def decided(inventory, storage, rank=9):
    """Every group in one format, the last layer dense."""
    blocks = []
    for group in inventory.groups:
        names = [p.name for p in group.members]
        if group.layer == inventory.n_layers - 1:
            continue
        shared = storage.is_shared and len(names) > 1
        plain = storage if shared else Format.SKIP if storage.skips else Format.LOW_RANK
        blocks += [BlockRank(members, plain, rank) for members in ([tuple(names)] if shared else [(n,) for n in names])]
    return blocks


def nearest(group, bits):
    """Round weights that share a scale, literally."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    scale = torch.maximum(group.max() / high, group.min() / low).bfloat16().float()
    return (group / scale).round().clamp(low, high) * scale


@BITS
@pytest.mark.parametrize("columns", [75, 32, 1])
def test_weights_are_rounded_as_written_down_and_a_short_last_group_by_itself(bits, columns):
    matrix = torch.randn(5, columns, generator=torch.Generator().manual_seed(1))
    size = ROUNDINGS[bits].group_size or columns
    expected = torch.stack([torch.cat([nearest(group, bits) for group in row.split(size)]) for row in matrix])
    torch.testing.assert_close(round_matrix(matrix, ROUNDINGS[bits]), expected, rtol=1e-6, atol=1e-7)


def quantized(linear, rounding):
    """Let torchao quantise a linear module as people do, with float32 scales."""
    group = torchao.PerAxis(0) if rounding.group_size is None else torchao.PerGroup(rounding.group_size)
    config = torchao.IntxWeightOnlyConfig(
        weight_dtype=getattr(torch, f"int{rounding.bits}"),
        granularity=group,
        mapping_type=torchao.MappingType.SYMMETRIC_NO_CLIPPING_ERR,
    )
    torchao.quantize_(linear, config)


@BITS
def test_a_matrix_takes_the_integers_and_scales_that_torchao_stores(bits):
    linear = nn.Linear(96, 40, bias=False)
    quantized(linear, ROUNDINGS[bits])
    assert linear.weight.zero_point.count_nonzero() == 0
    stored = linear.weight.qdata.numel() * bits // 8 + linear.weight.scale.numel() * 2
    assert ROUNDINGS[bits].matrix_bytes(40, 96) == stored
    assert ROUNDINGS[4].matrix_bytes(3, 33) == 3 * (17 + 2 * 2)


def test_a_rounded_model_predicts_what_torchao_s_kernels_do(llama):
    module, inventory, _ = llama
    by_torchao = copy.deepcopy(module)
    for projection in inventory.projections:
        linear = by_torchao.get_submodule(projection.name)
        weight = linear.weight.detach()
        scale = torch.maximum(weight.amax(1) / 127, -weight.amin(1) / 128).bfloat16().float()[:, None]
        kernel = torchao.IntxUnpackedToInt8Tensor.from_hp(
            weight,
            (1, weight.shape[1]),
            torch.int8,
            intx_choose_qparams_algorithm=None,
            custom_scale=scale,
            custom_zero_point=torch.zeros_like(scale, dtype=torch.int8),
        )
        linear.weight = nn.Parameter(kernel, requires_grad=False)
    ours = rounded(module, inventory.by_name, ROUNDINGS[8])
    torch.testing.assert_close(ours(TOKENS).logits, by_torchao(TOKENS).logits, rtol=1e-5, atol=1e-5)


@BITS
@pytest.mark.parametrize("storage", Format)
def test_every_matrix_of_every_format_is_rounded_once_and_nothing_else(llama, storage, bits):
    module, inventory, factors = llama
    blocks = [] if storage is Format.DENSE else decided(inventory, storage)
    compressed = compress(module, blocks, factors.__getitem__)
    before = {name: tensor.clone() for name, tensor in compressed.state_dict().items()}
    after = rounded(compressed, inventory.by_name, ROUNDINGS[bits]).state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in compressed.state_dict().items())
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert sorted(tuple(before[name].shape) for name in changed) == sorted(matrix_shapes(blocks, inventory))
    for name in changed:
        assert torch.equal(after[name], round_matrix(before[name], ROUNDINGS[bits]))
    assert all(after[name].data_ptr() == compressed.state_dict()[name].data_ptr() for name in before.keys() - changed)


@pytest.mark.parametrize("storage", [Format.LOW_RANK, Format.SKIP_CAT])
def test_quantisers_find_every_factor_as_an_ordinary_linear_module(llama, storage):
    module, inventory, factors = llama
    blocks = decided(inventory, storage)
    compressed = compress(module, blocks, factors.__getitem__)
    found: list[nn.Linear] = []
    inside = {f"{p.name}." for p in inventory.projections} | {p.name for p in inventory.projections}
    torchao.quantize_(
        compressed,
        torchao.Int8WeightOnlyConfig(version=2),
        filter_fn=lambda part, name: (
            isinstance(part, nn.Linear) and any(name.startswith(one) for one in inside) and found.append(part) is None
        ),
    )
    assert sorted(tuple(part.weight.shape) for part in found) == sorted(matrix_shapes(blocks, inventory))
    assert all(hasattr(part.weight, "qdata") for part in found)


def test_weights_stored_the_other_way_round_are_rounded_along_their_inputs():
    module, inventory, _ = toys.factored("gpt2", toys.tokens(2, 8))
    after = rounded(module, inventory.by_name, ROUNDINGS[4])
    name = inventory.projections[0].name
    expected = round_matrix(module.get_submodule(name).weight.T, ROUNDINGS[4])
    assert torch.equal(after.get_submodule(name).weight.T, expected)


@pytest.mark.parametrize("storage", [Format.LOW_RANK, Format.SKIP_CAT])
def test_the_bytes_of_a_model_are_those_of_its_matrices_and_of_the_rest_in_16_bits(llama, storage):
    _, inventory, _ = llama
    blocks = decided(inventory, storage)
    shapes = list(matrix_shapes(blocks, inventory))
    params = allocated_params(blocks, inventory)
    assert sum(rows * columns for rows, columns in shapes) == params
    orders = sum(index_bytes(block, inventory.by_name[block.members[0]].in_features) for block in blocks)
    others = inventory.total_params - inventory.compressible_params
    by_hand = sum(rows * (columns + 2) for rows, columns in shapes) + 2 * others + orders
    assert model_bytes("int8", blocks, inventory) == by_hand
    assert model_bytes("float16", blocks, inventory) == 2 * (params + others) + orders


def test_without_torchao_one_sentence_says_how_to_get_it(llama, monkeypatch):
    module, inventory, _ = llama
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ModelError, match="pip install torchao, or measure at 16 bits"):
        rounded(module, inventory.by_name, ROUNDINGS[8])


def test_a_narrowed_mlp_has_smaller_matrices_and_is_rounded_like_any_other():
    inventory = take_inventory(toys.build("phi3"))
    (mlp, *_) = inventory.mlps
    block = BlockRank(tuple(p.name for p in mlp.members), Format.WIDTH, 20)
    hidden, fused = mlp.down.out_features, mlp.up[0].out_features // mlp.neurons
    shapes = list(matrix_shapes([block], inventory))
    assert shapes[:2] == [(fused * 20, hidden), (hidden, 20)]
    assert sum(rows * columns for rows, columns in shapes) == allocated_params([block], inventory)
