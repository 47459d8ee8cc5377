"""Factor the blocks of one input group under one metric: every member alone, and all of them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.calibration.sides import is_wide, needs_input_moment
from engine.calibration.statistics import LayerStatistics
from engine.factorization.decomposition import (
    Decomposition,
    decompose_input_side,
    decompose_output_side,
    input_side_energies,
    output_side_energies,
)
from engine.types import InputGroup, Metric, Projection, block_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Factors:
    """What every rank of one block is sliced from; matrices of a stack of experts have one more dimension, the first.

    Attributes:
        members: names of the projections, in stacking order.
        on_output_side: whether ``basis`` is the left factor (out, k); else ``dual`` is the right one (k, in).
        basis: (n, k) float32; n = out or in.
        dual: (k, n) float32; dual @ basis = identity.
        energies: (k,) float64, sigma squared in this metric, descending.
        nats: (k + 1,) float64, half the loss-metric energy discarded at rank r; nats per token.
        offset: (in,) mean input around which the metric is centred, or ``None``; a truncated
            projection then adds (W - W_r) offset to its bias.
        damping: relative damping that was needed.
    """

    members: tuple[str, ...]
    on_output_side: bool
    basis: torch.Tensor
    dual: torch.Tensor
    energies: torch.Tensor
    nats: torch.Tensor
    offset: torch.Tensor | None
    damping: float

    def at_rank(self, rank: int, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return left (D, rank) and right (rank, in) with left @ right the truncation of ``weight`` (D, in)."""
        if self.on_output_side:
            return self.basis[..., :rank], self.dual[..., :rank, :] @ weight
        return weight @ self.basis[..., :rank], self.dual[..., :rank, :]


def factorize_group(
    group: InputGroup,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> list[Factors]:
    """Factor every member of ``group`` and, if it has several, the stack of all.

    Args:
        group: projections that read the same input.
        weights: projection name -> W (out, in).
        statistics: of the group's layer.
        metric: what is decomposed.
        damping: first relative damping of Cholesky factorisations.
        shrinkage: share of the mean gradient variance in the gradients' second moment, in [0, 1).

    Raises:
        NumericalError: a moment cannot be factorised; the message names the block.
    """
    result = []
    for block in _blocks(group, weights, statistics, metric, shrinkage):
        if block.on_output_side:
            moment = block.sensitivity if metric is Metric.LOSS else None
            decomposed = decompose_output_side(block.gram, moment, block.max_rank, damping, block.name)
        else:
            decomposed = decompose_input_side(block.moment, block.gram, block.max_rank, damping, block.name)
        result.append(
            Factors(
                block.members,
                block.on_output_side,
                decomposed.basis.float().contiguous(),
                decomposed.dual.float().contiguous(),
                decomposed.energies,
                _discarded_nats(block, decomposed, metric),
                block.offset.float() if block.offset is not None else None,
                decomposed.damping,
            )
        )
    return result


def group_energies(
    group: InputGroup,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> dict[tuple[str, ...], torch.Tensor]:
    """Return only the energies of :func:`factorize_group`, by member names; much cheaper."""
    result = {}
    for block in _blocks(group, weights, statistics, metric, shrinkage):
        if block.on_output_side:
            moment = block.sensitivity if metric is Metric.LOSS else None
            result[block.members] = output_side_energies(block.gram, moment, block.max_rank, damping, block.name)
        else:
            result[block.members] = input_side_energies(block.moment, block.gram, block.max_rank, damping, block.name)
    return result


@dataclass(frozen=True, slots=True)
class _Block:
    """The moments of one block in one metric, all float64.

    Attributes:
        members: projection names.
        on_output_side: which side is decomposed.
        max_rank: min(in, D).
        moment: (in, in) metric of the input side; empty on the output side.
        gram: W^T H W (in, in) or W G W^T (out, out), in the metric.
        sensitivity: W^T H W (in, in) or H (out, out) of the loss, whatever the metric.
        spread: G (in, in) or W G W^T (out, out) of the loss, whatever the metric (around the offset).
        offset: (in,) centre of the metric.
    """

    members: tuple[str, ...]
    on_output_side: bool
    max_rank: int
    moment: torch.Tensor
    gram: torch.Tensor
    sensitivity: torch.Tensor
    spread: torch.Tensor
    offset: torch.Tensor | None

    @property
    def name(self) -> str:
        return block_name(self.members)


def _blocks(
    group: InputGroup,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    metric: Metric,
    shrinkage: float,
) -> Iterator[_Block]:
    """Yield the members' blocks, then the stack's."""
    means = statistics.means[group.name].double()
    centre = means.mean(0) if metric is Metric.FEATURE else None
    doubles = {p.name: weights[p.name].double() for p in group.members}
    gradients = {p.name: shrunk_gradient(p, doubles[p.name], statistics, shrinkage) for p in group.members}
    moment = spread = torch.empty(0)
    if needs_input_moment(group):
        raw = statistics.inputs[group.name].double()
        moment, spread = _in_metric(raw, means, metric), _around(raw, centre)
    for projection in group.members:
        weight = doubles[projection.name]
        gradient = gradients[projection.name]
        if is_wide(projection):
            output = _output_moment(group, projection, weight, statistics)
            shifted = means @ weight.T
            gram = weight @ weight.T if metric is Metric.WEIGHT else _in_metric(output, shifted, metric)
            output_spread = _around(output, None if centre is None else weight @ centre)
            yield _Block((projection.name,), True, len(weight), torch.empty(0), gram, gradient, output_spread, centre)
        else:
            gram = gradient if metric is Metric.LOSS else weight.T @ weight
            yield _Block((projection.name,), False, weight.shape[1], moment, gram, gradient, spread, centre)
    if len(group.members) > 1:
        sensitivity = torch.stack([input_gradient(p, doubles[p.name], gradients[p.name]) for p in group.members]).sum(0)
        gram = sensitivity if metric is Metric.LOSS else _gram(torch.cat(list(doubles.values())))
        members = tuple(p.name for p in group.members)
        max_rank = min(group.in_features, group.out_features)
        yield _Block(members, False, max_rank, moment, gram, sensitivity, spread, centre)


def _gram(weight: torch.Tensor) -> torch.Tensor:
    return weight.T @ weight


def _in_metric(moment: torch.Tensor, means: torch.Tensor, metric: Metric) -> torch.Tensor:
    """Turn a second moment into the metric's: the identity, itself, or the covariance pooled over sequences."""
    if metric is Metric.WEIGHT:
        return torch.eye(len(moment), dtype=moment.dtype, device=moment.device)
    if metric is Metric.FEATURE:
        return moment - means.T @ means / len(means)
    return moment


def _around(moment: torch.Tensor, centre: torch.Tensor | None) -> torch.Tensor:
    return moment if centre is None else moment - torch.outer(centre, centre)


def _output_moment(
    group: InputGroup, projection: Projection, weight: torch.Tensor, statistics: LayerStatistics
) -> torch.Tensor:
    """Return W G W^T (out, out), measured or derived."""
    if projection.name not in statistics.outputs:
        return weight @ statistics.inputs[group.name].double() @ weight.T
    return statistics.outputs[projection.name].double()


def shrunk_gradient(
    projection: Projection, weight: torch.Tensor, statistics: LayerStatistics, shrinkage: float
) -> torch.Tensor:
    """Return H (out, out), or W^T H W (in, in) of a tall weight, with H shrunk towards a multiple of the identity.

    A few tokens have most of the gradient's energy, so directions that matter elsewhere look harmless in H.
    """
    gradient = statistics.gradients[projection.name].double()
    if is_wide(projection):
        even = torch.eye(len(gradient), dtype=gradient.dtype, device=gradient.device)
    else:
        even = weight.T @ weight
    scale = gradient.trace() / even.trace()
    return torch.lerp(gradient, even * scale, shrinkage)


def input_gradient(projection: Projection, weight: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """Return W^T H W (in, in) from the gradients' moment on the smaller side."""
    return weight.T @ gradient @ weight if is_wide(projection) else gradient


def _discarded_nats(block: _Block, decomposed: Decomposition, metric: Metric) -> torch.Tensor:
    """Return half the loss-metric energy of W - W_r for r = 0..k.

    With A = basis^T K basis and B = dual G dual^T (or H and W G W^T on the output side) the discarded
    energy is the sum of A * B over the indices above r. For the loss metric that is the tail sum of its
    own energies, and for the input metric one of A and B is diagonal.
    """
    if metric is Metric.LOSS:
        return _tail_sums(decomposed.energies) / 2
    basis, dual = decomposed.basis, decomposed.dual
    if metric is Metric.INPUT:
        weight_of = (basis * (block.sensitivity @ basis)).sum(0)
        return _tail_sums(weight_of * decomposed.energies if block.on_output_side else weight_of) / 2
    product = (basis.T @ block.sensitivity @ basis) * (dual @ block.spread @ dual.T)
    corner_sums = product.flip(0, 1).cumsum(0).cumsum(1).diagonal().flip(0)
    return torch.cat([corner_sums, corner_sums.new_zeros(1)]).clamp_min(0) / 2


def _tail_sums(values: torch.Tensor) -> torch.Tensor:
    """Return (k + 1,) sums of ``values`` (k,) from index r on."""
    sums = values.flip(0).cumsum(0).flip(0)
    return torch.cat([sums, sums.new_zeros(1)])
