"""Correct the left factors of a compressed model layer by layer, by least squares; nothing is trained.

Layer by layer, and within a layer in the order the projections run, every left factor is fitted once more: its
inner factor now reads what the compressed model really computes, and it shall give what the dense model computes
there. A projection that adds to the residual stream shall also make up for the error the stream has picked up so
far; there every token counts in relation to its size, because the next layer normalises it.

References:
    SVD-LLM, arXiv:2403.07378 (closed-form update of one factor from the compressed model's inputs);
    AA-SVD, arXiv:2604.02119 (targets from the dense model's own inputs). Making up for the error of the residual
    stream, and weighting its tokens, are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.layers import FactoredLinear
from engine.refinement.replay import run_layer, run_until
from engine.refinement.targets import Target, find_target, token_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from engine.refinement.sweep import LayerPair
    from engine.types import Inventory


class LeftCorrection:
    """Fits the left factors of one layer after the other; to be called from the lowest layer up.

    Args:
        dense: the original model.
        compressed: the model made from it.
        inventory: of the dense model.
        damping: ridge towards the factor as it was, relative to the mean energy of the inner factor's output.
    """

    def __init__(self, dense: nn.Module, compressed: nn.Module, inventory: Inventory, damping: float) -> None:
        self._originals = dict(dense.named_modules())
        self._modules = dict(compressed.named_modules())
        self._inventory = inventory
        self._damping = damping
        self._targets: dict[str, Target] = {}

    @torch.no_grad()
    def __call__(self, pair: LayerPair) -> None:
        """Correct the left factors of one layer in place; inner factors and ranks stay."""
        for group in (g for g in self._inventory.groups if g.layer == pair.index):
            originals, modules, targets = [], [], []
            for p in group.members:
                module, original = self._modules[p.name], self._originals[p.name]
                if isinstance(module, FactoredLinear):
                    if p.kind not in self._targets:
                        self._targets[p.kind] = find_target(pair.dense, original, pair.dense_entering[0], pair.calls)
                    originals.append(original)
                    modules.append(module)
                    targets.append(self._targets[p.kind])
            if modules:
                _correct_group(pair, originals, modules, targets, self._damping)


def _correct_group(
    pair: LayerPair,
    originals: Sequence[nn.Module],
    modules: Sequence[FactoredLinear],
    targets: Sequence[Target],
    damping: float,
) -> None:
    """Fit the left factors of projections that read the same input."""
    sums = [_Sums() for _ in modules]
    for dense_entering, entering, leaving in zip(pair.dense_entering, pair.entering, pair.leaving, strict=True):
        wanted = run_until(pair.dense, originals, dense_entering, pair.calls, pair.dtype)
        given = run_until(pair.compressed, modules, entering, pair.calls, pair.dtype)
        for module, target, total, (_, y), (x, z) in zip(modules, targets, sums, wanted, given, strict=True):
            if target is Target.LAYER_OUTPUT:
                size: torch.Tensor | None = leaving
                error = leaving - run_layer(pair.compressed, entering, pair.calls, pair.dtype)
            elif target is Target.BESIDE_INPUT:
                size = dense_entering + y.view_as(entering)
                error = size - entering - z.view_as(entering)
            else:
                size, error = None, y - z
            total.add(module.inner(x), error, size)
    for module, total in zip(modules, sums, strict=True):
        module.left.add_(total.correction(damping))


class _Sums:
    """Weighted sums over tokens for one projection: z z^T (r, r) and e z^T (out, r)."""

    def __init__(self) -> None:
        self._inner = self._error = torch.zeros(())

    def add(self, inner: torch.Tensor, error: torch.Tensor, size: torch.Tensor | None) -> None:
        """Add tokens: inner (..., r) and error (..., out), weighted by their size where there is one."""
        z, e = inner.float().flatten(0, -2), error.flatten(0, -2)
        weighted = z if size is None else z * token_weights(size).flatten(0, -2)
        self._inner = self._inner + weighted.T @ z
        self._error = self._error + e.T @ weighted

    def correction(self, damping: float) -> torch.Tensor:
        """Return what to add to the left factor (out, r)."""
        inner = self._inner.double()
        ridge = damping * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
        solved: torch.Tensor = torch.linalg.solve(inner + ridge, self._error.double().T)
        return solved.T.float()
