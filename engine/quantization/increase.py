"""What rounding a weight, or its two factors, is predicted to add to the loss; plain tensor functions.

With the error E of a weight the second-order increase of the loss is half tr(H^T E G E^T). Rounding errors of different
weights are independent and around zero, so that on average only the diagonals count: half the sum of H_ii E_ij^2 G_jj.
The largest direction of each moment is left out: the token that attention makes a sink of has an enormous input, which
never meets the gradients of other tokens, as a product of two averages pretends. (A truncation keeps that direction;
rounding errors are in all of them.)

References:
    Hassibi and Stork, Second order derivatives for network pruning, NeurIPS 1992; Nagel et al., arXiv:2004.10568
    (rounding errors in a second-order metric). Moments of one side only, and leaving a direction out, are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.compression.apply import balanced
from engine.quantization.rounding import round_matrix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.calibration.statistics import LayerStatistics
    from engine.factorization.blocks import Factors
    from engine.precision import Rounding
    from engine.types import InputGroup, Projection

_POWER_STEPS = 30


def without_largest_direction(moment: torch.Tensor) -> torch.Tensor:
    """Return the diagonal (n,) of a second moment (n, n) less its largest eigenvector's part."""
    moment = moment.double()
    vector = moment[:, moment.diagonal().argmax()]
    for _ in range(_POWER_STEPS):
        vector = torch.nn.functional.normalize(moment @ vector, dim=0)
    return (moment.diagonal() - vector @ moment @ vector * vector**2).clamp_min(0)


def input_energies(group: InputGroup, weights: dict[str, torch.Tensor], statistics: LayerStatistics) -> torch.Tensor:
    """Return (in,) mean squares of a group's inputs; where only those of outputs are kept, even ones that agree."""
    if group.name in statistics.inputs:
        return without_largest_direction(statistics.inputs[group.name])
    first = group.members[0]
    return _even(statistics.outputs[first.name], weights[first.name], first.in_features)


def gradient_energies(projection: Projection, weight: torch.Tensor, statistics: LayerStatistics) -> torch.Tensor:
    """Return (out,) mean squares of a projection's gradients; for a tall weight even ones that agree with W^T H W."""
    moment = statistics.gradients[projection.name]
    if projection.out_features <= projection.in_features:
        return without_largest_direction(moment)
    return _even(moment, weight, projection.out_features)


def _even(moment: torch.Tensor, weight: torch.Tensor, width: int) -> torch.Tensor:
    """Return energies (width,), all the same, that a weight makes a moment of its other side of."""
    total = without_largest_direction(moment).sum() / weight.double().pow(2).sum()
    return total.expand(width)


def dense_nats(weight: torch.Tensor, gradients: torch.Tensor, inputs: torch.Tensor, rounding: Rounding) -> float:
    """Return the nats that rounding a weight (out, in) adds, given the energies on both of its sides."""
    squared = (weight - round_matrix(weight, rounding)).double().pow(2)
    return float(gradients @ squared @ inputs) / 2


def factored_nats(
    factors: Factors, weights: Sequence[torch.Tensor], gradients: torch.Tensor, inputs: torch.Tensor, rounding: Rounding
) -> torch.Tensor:
    """Return (k + 1,) nats that rounding both factors adds at every rank.

    Args:
        factors: in the loss metric, in which every direction has half its energy as its share of the loss.
        weights: of the members, in stacking order.
        gradients: (D,) energies of the members' gradients, stacked.
        inputs: (in,) energies of their input.
        rounding: of each factor.
    """
    stacked = torch.cat([weight.float() for weight in weights])
    energies = factors.energies.double().to(stacked.device)
    whole, plain = factors.at_rank(len(energies), stacked)
    left, right = balanced(whole, plain)
    scale = (plain.norm(dim=1) / right.norm(dim=1).clamp_min(torch.finfo(torch.float32).tiny)).double()
    # left_k^T H left_k and right_k G right_k^T, whose product is the direction's energy.
    sensitivity = scale**2 if factors.on_output_side else energies * scale**2
    spread = energies / scale.clamp_min(1e-300) ** 2 if factors.on_output_side else scale.clamp_min(1e-300) ** -2
    starts, of_left = 0, torch.zeros_like(energies)
    for weight in weights:
        rows = slice(starts, starts + len(weight))
        of_left += gradients[rows] @ (left[rows] - round_matrix(left[rows], rounding)).double().pow(2)
        starts = rows.stop
    of_right = (right - round_matrix(right, rounding)).double().pow(2) @ inputs
    added = (of_left * spread + of_right * sensitivity) / 2
    return torch.cat([added.new_zeros(1), added.cumsum(0)])
