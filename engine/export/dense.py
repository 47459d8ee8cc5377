"""Multiply factors out, so that a compressed model is an ordinary one again; it then saves nothing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch

from engine.compression.apply import with_replacements
from engine.compression.layers import FactoredLinear, SharedInner, SkipInner
from engine.errors import ExportError
from engine.model.module import weight_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn


def multiplied_out(module: nn.Module, compressed: nn.Module) -> nn.Module:
    """Return the model with left @ right in the place of its weights; the rest is shared with ``module``.

    Args:
        module: the dense model; it is not changed.
        compressed: the same model with factored modules.

    Raises:
        ExportError: compression added a bias, which the original modules have no place for.
    """
    factored = {name: part for name, part in compressed.named_modules() if isinstance(part, FactoredLinear)}

    def plain(members: tuple[str, ...], linears: Sequence[nn.Module]) -> list[nn.Module]:
        return [_plain_linear(name, linear, factored[name]) for name, linear in zip(members, linears, strict=True)]

    return with_replacements(module, [(name,) for name in factored], plain)


def export_dense(module: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write a model of ordinary weights as transformers does.

    Raises:
        OSError: the folder cannot be written.
    """
    causal: Any = module
    causal.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def _plain_linear(name: str, linear: nn.Module, part: FactoredLinear) -> nn.Module:
    if part.bias is not None and getattr(linear, "bias", None) is None:
        raise ExportError(
            f"Compressing in the feature metric gave {name} a bias, for which the original architecture has no place; "
            "export this map with the format factored, or choose a map in another metric."
        )
    result = copy.deepcopy(linear)
    product = (part.left.double() @ _right(part.inner)).to(part.left)
    weight_matrix(result).copy_(product)
    if part.bias is not None:
        result.bias.copy_(part.bias)  # type: ignore[operator]
    return result


def _right(inner: Any) -> torch.Tensor:
    """Return what an inner factor multiplies its input with, (r, in) in float64."""
    factor: Any = inner.inner if isinstance(inner, SharedInner) else inner
    if not isinstance(factor, SkipInner):
        low_rank: torch.Tensor = factor.right.double()
        return low_rank
    rank = len(factor.mix)
    right = torch.empty(rank, len(factor.columns), dtype=torch.float64, device=factor.mix.device)
    right[:, factor.columns.long()] = torch.cat([torch.eye(rank).to(right), factor.mix.double()], dim=1)
    return right
