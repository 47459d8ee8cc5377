"""Second moments of one decoder layer: what the factorisations need, and nothing larger.

Every moment is taken on the smaller side of its weight (see ``docs/decisions.md``): with M = S_H^T W S_G,
either M M^T = S_H^T (W G W^T) S_H or M^T M = S_G^T (W^T H W) S_G is decomposed, so a projection with
out <= in needs H = E[g g^T] and Y = E[(Wx)(Wx)^T], a taller one G = E[x x^T] and K = E[(W^T g)(W^T g)^T].
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import InputGroup, Projection


@dataclass(frozen=True, slots=True)
class LayerStatistics:
    """Moments of one decoder layer over ``n_tokens`` calibration tokens, in float32.

    Attributes:
        layer: index of the decoder layer.
        n_tokens: tokens averaged over.
        inputs: group name -> G (in, in), for groups that need it.
        means: group name -> (n_sequences, in), the mean input of every sequence.
        outputs: projection name -> Y (out, out), for projections alone in their group with out <= in.
        gradients: projection name -> H (out, out) where out <= in, else K (in, in); nats squared.
        importances: projection name -> FLRC importances in the order of :class:`engine.types.Importance`.
    """

    layer: int
    n_tokens: int
    inputs: dict[str, torch.Tensor] = field(default_factory=dict)
    means: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: dict[str, torch.Tensor] = field(default_factory=dict)
    gradients: dict[str, torch.Tensor] = field(default_factory=dict)
    importances: dict[str, torch.Tensor] = field(default_factory=dict)

    def grouped(self, n_groups: int) -> LayerStatistics:
        """Return the same with the means of ``n_groups`` runs of neighbouring sequences, which it divides."""
        means = {name: m.view(n_groups, -1, m.shape[1]).mean(1) for name, m in self.means.items()}
        return replace(self, means=means)

    def to_tensors(self) -> dict[str, torch.Tensor]:
        """Flatten to named tensors, ready for a safetensors file."""
        flat = {
            f"{kind}/{name}": tensor.contiguous().cpu()
            for kind in ("inputs", "means", "outputs", "gradients", "importances")
            for name, tensor in getattr(self, kind).items()
        }
        return {**flat, "n_tokens": torch.tensor([self.n_tokens])}

    @classmethod
    def from_tensors(cls, layer: int, tensors: dict[str, torch.Tensor]) -> LayerStatistics:
        """Undo :meth:`to_tensors`."""
        statistics = cls(layer, int(tensors["n_tokens"]))
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            if name:
                getattr(statistics, kind)[name] = tensor
        return statistics


def is_wide(projection: Projection) -> bool:
    """Whether the output side is the smaller one (out <= in), on which the projection is decomposed."""
    return projection.out_features <= projection.in_features


def needs_input_moment(group: InputGroup) -> bool:
    """Whether some block of the group is decomposed on its input side."""
    return len(group.members) > 1 or not is_wide(group.members[0])


def statistics_bytes(groups: Sequence[InputGroup], n_sequences: int) -> int:
    """Return the bytes that the moments of these groups take while they are collected."""
    total = 0
    for group in groups:
        total += 4 * n_sequences * group.in_features
        if needs_input_moment(group):
            total += 4 * group.in_features**2
        else:
            total += 4 * group.out_features**2
        total += sum(4 * min(p.out_features, p.in_features) ** 2 for p in group.members)
    return total
