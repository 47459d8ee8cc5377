"""Parameters, multiply-adds and bytes of compressed models, counted while they run, against the formulas."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from engine.evaluation.cost import grouped_flops
from engine.formats import allocated_params, block_params, index_bytes, uniform_rank
from engine.formats import multiply_adds as promised
from engine.types import RANK_FORMATS, BlockRank, Format
from tests.engine.compression.test_apply import FACTORED, TOKENS, Toy
from tests.support.tiers import every_architecture


@cache
def toy(name: str) -> Toy:
    return Toy(name)


def mixed(made: Toy) -> list[BlockRank]:
    """Every group in another format, dense included."""
    formats = sorted(RANK_FORMATS)
    by_format = {storage: made.blocks(storage, 0.4) for storage in formats}
    result = []
    for i, group in enumerate(made.inventory.groups):
        names = {p.name for p in group.members}
        storage = (*formats, Format.DENSE)[i % 5]
        if storage is Format.DENSE:
            result += [BlockRank((name,), Format.DENSE, None) for name in sorted(names)]
        else:
            result += [block for block in by_format[storage] if names.issuperset(block.members)]
    return result


def multiply_adds(model: nn.Module) -> dict[str, int]:
    """Return the multiply-adds per token of every module's matrix products, by its name; "" is the model."""
    known = {torch.ops.aten._grouped_mm: grouped_flops}
    with torch.no_grad(), FlopCounterMode(display=False, depth=None, custom_mapping=known) as counter:
        model(input_ids=TOKENS, use_cache=False)
    root = type(model).__name__
    counts = {name.removeprefix(root).lstrip("."): sum(of.values()) for name, of in counter.get_flop_counts().items()}
    assert all(count % (2 * TOKENS.numel()) == 0 for count in counts.values())
    return {name: count // (2 * TOKENS.numel()) for name, count in counts.items()}


def matrices(modules: list[nn.Module]) -> int:
    """Count parameters, biases apart, each tensor once."""
    found = {id(p): p.numel() for m in modules for n, p in m.named_parameters() if n.rpartition(".")[2] != "bias"}
    return sum(found.values())


def dropped_biases(made: Toy, blocks: list[BlockRank]) -> int:
    """Count the biases that go with dropped neurons; they are no compressible parameters."""
    whole = dict(made.module.named_modules())
    widths = {block.members: block.rank for block in blocks if block.format is Format.WIDTH}
    return sum(
        (1 - widths[tuple(p.name for p in mlp.members)] / mlp.neurons) * getattr(whole[p.name].bias, "numel", int)()
        for mlp in made.inventory.mlps
        if tuple(p.name for p in mlp.members) in widths
        for p in mlp.up
    )


@pytest.mark.parametrize("storage", [*FACTORED, Format.DENSE, None])
@every_architecture
def test_every_block_holds_and_does_what_the_formula_says(name, storage):
    made = toy(name)
    if storage is None:
        blocks = mixed(made)
        assert len({b.format for b in blocks}) >= 3
    elif storage is Format.DENSE:
        blocks = [BlockRank((p.name,), Format.DENSE, None) for p in made.inventory.projections]
    else:
        blocks = made.blocks(storage, 0.4)
    model = made.compressed(blocks)
    modules = dict(model.named_modules())
    done = multiply_adds(model)
    for block in blocks:
        expected = block_params(block, made.projections)
        first = made.projections[block.members[0]]
        if first.experts is not None and block.rank is None:
            continue  # a tensor of the library's own experts, no module
        assert matrices([modules[name] for name in block.members]) == expected
        assert sum(done[name] for name in block.members) == expected * first.active_fraction
        columns = {
            b.data_ptr(): b.nbytes for name in block.members for _, b in modules[name].named_buffers() if b.numel()
        }
        assert sum(columns.values()) == index_bytes(block, made.projections[block.members[0]].in_features)
    kept = allocated_params(blocks, made.inventory)
    outside = made.inventory.total_params - made.inventory.compressible_params
    assert sum(p.numel() for p in model.parameters()) == outside + kept - dropped_biases(made, blocks)
    dense = multiply_adds(made.module)
    assert dense["Global"] - done["Global"] == promised((), made.inventory) - promised(blocks, made.inventory)
    if all(p.experts is None for p in made.inventory.projections):
        assert promised(blocks, made.inventory) == kept


def test_at_a_kept_fraction_bytes_and_multiply_adds_are_that_fraction_plus_the_index():
    """SkipCat's claim, at 0.6: three fifths of the bytes and of the work; one column order per shared input."""
    made = toy("llama")
    blocks = []
    for group in made.inventory.groups:
        width, out = group.in_features, group.out_features
        storage = Format.SKIP_CAT if len(group.members) > 1 else Format.SKIP
        members = tuple(p.name for p in group.members)
        blocks.append(BlockRank(members, storage, uniform_rank(storage, 0.6, width, out)))
    model = made.compressed(blocks)
    modules = dict(model.named_modules())
    parts = [modules[p.name] for p in made.inventory.projections]
    held = {t.data_ptr(): t.nbytes for m in parts for t in (*m.parameters(), *m.buffers())}
    index = sum(index_bytes(b, made.projections[b.members[0]].in_features) for b in blocks)
    n_layers = made.inventory.n_layers
    assert index == n_layers * 4 * (48 + 48 + 48 + 80)  # int32, for qkv, o, gate-up and down
    dense_bytes = 4 * made.inventory.compressible_params
    assert sum(held.values()) <= 0.6 * dense_bytes + index
    done = multiply_adds(model)
    assert sum(done[p.name] for p in made.inventory.projections) <= 0.6 * made.inventory.compressible_params
