"""Put integers in the place of weights that a rank map rounds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.export.modeling import RoundedLinear, RoundedStack
from engine.model.experts import ExpertStack
from engine.model.module import weight_matrix
from engine.model.stacks import put_stacks_
from engine.precision import ROUNDINGS, model_bytes
from engine.quantization.rounding import linear_parts, round_to_integers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import nn

    from engine.precision import Rounding
    from engine.rank_map.document import RankMap
    from engine.types import BlockRank, Inventory


def unrounded(rank_map: RankMap) -> RankMap:
    """Return a map with the same decisions, all at the bits of the whole model."""
    return replace(rank_map, blocks=tuple(replace(block, bits=None) for block in rank_map.blocks))


def with_integers(module: nn.Module, blocks: Sequence[BlockRank]) -> nn.Module:
    """Replace, in a model that is compressed but not rounded, linear modules and stacks of blocks that are; return it.

    Raises:
        ModelError: torchao is not there.
    """
    for bits, rounding in ROUNDINGS.items():
        names = [name for block in blocks if block.bits == bits for name in block.members]
        put_stacks_(module, names)
        parts = set(linear_parts(module, names))
        for path in [path for path, part in module.named_modules() if part in parts]:
            module.set_submodule(path, _of_integers(module.get_submodule(path), rounding))
    return module


def _of_integers(part: nn.Module, rounding: Rounding) -> nn.Module:
    weight: torch.Tensor = weight_matrix(part).detach()
    integers, scales = round_to_integers(weight.flatten(0, -2), rounding)
    stored = integers.view(weight.shape), scales.view(*weight.shape[:-1], -1), rounding.bits, rounding.group_size
    if isinstance(part, ExpertStack):
        return RoundedStack(*stored)
    bias: torch.Tensor | None = getattr(part, "bias", None)
    return RoundedLinear(*stored, None if bias is None else bias.detach())


def promised_bytes(rank_map: RankMap, inventory: Inventory, dtype: str) -> int:
    """Return the bytes of an export of a map whose other weights are stored as a type."""
    blocks = [block if block.is_rounded else replace(block, bits=None) for block in rank_map.blocks]
    return model_bytes(dtype, blocks, inventory)
