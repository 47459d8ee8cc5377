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

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.compression.layers import FactoredLinear, NarrowedLinear
from engine.model.module import device_for_float64
from engine.model.stacks import part_named
from engine.refinement.replay import run_until
from engine.refinement.targets import Target, find_target, token_weights

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from engine.refinement.sweep import LayerPair
    from engine.types import Inventory, Projection


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
        self._compressed = compressed
        self._inventory = inventory
        self._damping = damping
        self._targets: dict[str, Target] = {}

    @property
    def watched(self) -> list[str]:
        """The projections whose dense outputs a correction wants to see, where they are compressed already."""
        return [p.name for p in self._inventory.projections if self._has_left(p)]

    def _has_left(self, projection: Projection) -> bool:
        """Whether a projection has a left factor; that of a narrowed ``down`` is its weight."""
        module = part_named(self._compressed, projection.name)
        is_down = projection.name in self._inventory.downs
        return isinstance(module, FactoredLinear) or (is_down and isinstance(module, NarrowedLinear))

    @torch.no_grad()
    def __call__(self, pair: LayerPair) -> None:
        """Correct the left factors of one layer in place; inner factors and ranks stay."""
        for group in (g for g in self._inventory.groups if g.layer == pair.index):
            fits = []
            for p in group.members:
                if self._has_left(p):
                    if p.kind not in self._targets:
                        entering = pair.dense_entering[0]
                        found = find_target(pair.dense, self._originals[p.name], entering, pair.calls)
                        self._targets[p.kind] = found
                    module = self._compressed.get_submodule(p.name)
                    fits.append(_Fit(module, self._targets[p.kind], pair.outputs[p.name]))
            if fits:
                _correct_group(pair, fits, self._damping)


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """One projection, what its output is fitted to, and per batch the dense projection's output."""

    module: nn.Module
    target: Target
    wanted: Sequence[torch.Tensor]

    @property
    def left(self) -> torch.Tensor:
        """What is fitted, (out, r)."""
        module = self.module
        if isinstance(module, FactoredLinear):
            return module.left.weight
        assert isinstance(module, NarrowedLinear)
        return module.weight

    def inner(self, x: torch.Tensor) -> torch.Tensor:
        """Return what ``left`` reads."""
        return self.module.inner(x) if isinstance(self.module, FactoredLinear) else x


def _correct_group(pair: LayerPair, fits: Sequence[_Fit], damping: float) -> None:
    """Fit the left factors of projections that read the same input."""
    modules = [fit.module for fit in fits]
    ends = any(fit.target is Target.LAYER_OUTPUT for fit in fits)
    sums = [_Sums() for _ in fits]
    for batch, entering in enumerate(pair.entering):
        given, out = run_until(pair.compressed, modules, entering, pair.calls, pair.dtype, to_the_end=ends)
        for fit, total, (x, z) in zip(fits, sums, given, strict=True):
            wanted = fit.wanted[batch].float()
            if fit.target is Target.LAYER_OUTPUT:
                assert out is not None
                size: torch.Tensor | None = pair.leaving[batch]
                error = pair.leaving[batch] - out
            elif fit.target is Target.BESIDE_INPUT:
                size = pair.dense_entering[batch] + wanted.view_as(entering)
                error = size - entering - z.view_as(entering)
            else:
                size, error = None, wanted - z
            total.add(fit.inner(x), error, size)
    for fit, total in zip(fits, sums, strict=True):
        fit.left.add_(total.correction(damping))


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
        device = device_for_float64(self._inner.device)
        inner, error = self._inner.to(device).double(), self._error.to(device).double()
        ridge = damping * inner.diagonal().mean() * torch.eye(len(inner), dtype=inner.dtype, device=device)
        solved: torch.Tensor = torch.linalg.solve(inner + ridge, error.T)
        return solved.T.float().to(self._inner.device)
