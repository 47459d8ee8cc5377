"""Put integers in the place of weights that a rank map rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.export.modeling import RoundedLinear
from engine.model.module import weight_matrix
from engine.precision import ROUNDINGS, model_bytes
from engine.quantization.rounding import linear_parts, round_to_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from engine.rank_map.document import RankMap
    from engine.types import BlockRank, Inventory


def unrounded(rank_map: RankMap) -> RankMap:
    """Return a map with the same decisions, all at the bits of the whole model."""
    return replace(rank_map, blocks=tuple(replace(block, bits=None) for block in rank_map.blocks))


def with_integers(module: nn.Module, blocks: Sequence[BlockRank]) -> nn.Module:
    """Replace, in a model that is compressed but not rounded, every linear module of blocks that are; return it.

    Raises:
        ModelError: torchao is not there.
    """
    for bits, rounding in ROUNDINGS.items():
        names = [name for block in blocks if block.bits == bits for name in block.members]
        parts = set(linear_parts(module, names))
        for path in [path for path, part in module.named_modules() if part in parts]:
            part = module.get_submodule(path)
            integers, scales = round_to_integers(weight_matrix(part).detach(), rounding)
            bias = getattr(part, "bias", None)
            kept = None if bias is None else bias.detach()
            module.set_submodule(path, RoundedLinear(integers, scales, kept, bits, rounding.group_size))
    return module


def promised_bytes(rank_map: RankMap, inventory: Inventory, dtype: str) -> int:
    """Return the bytes of an export of a map whose other weights are stored as a type."""
    blocks = [block if block.is_rounded else replace(block, bits=None) for block in rank_map.blocks]
    return model_bytes(dtype, blocks, inventory)
