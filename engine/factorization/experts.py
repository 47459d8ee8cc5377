"""Factor a stack of experts: every expert alone, in its own metric, all at one rank.

An expert's moments are those of the tokens it is given, and its share of the loss is their share of all tokens. An
expert with fewer tokens than its weight's smaller side has moments that say nothing of most directions. It takes what
experts have in common: on the side of the hidden state, which all of them read or write, the moment of all experts
together, and on the side of its own neurons an even one, with the variance that all experts' neurons have.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from engine.calibration.sides import is_wide
from engine.calibration.statistics import LayerStatistics
from engine.factorization.blocks import Factors, factorize_group, group_energies
from engine.types import InputGroup, Metric, Projection

if TYPE_CHECKING:
    from collections.abc import Iterator


def factorize_stack(
    stack: Projection,
    weight: torch.Tensor,
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> Factors:
    """Return the factors of a stack; their matrices have one more dimension, the first, for experts.

    Energies and nats are those of the experts, weighted with their tokens; energies of the weights alone just added.

    Args:
        stack: the projection.
        weight: (experts, out, in).
        statistics: of the stack's layer.
        metric: what is decomposed; experts have no bias for the mean of their inputs, so that ``feature`` is ``input``.
        damping: first relative damping of Cholesky factorisations.
        shrinkage: share of the mean gradient variance in the gradients' second moment, in [0, 1).

    Raises:
        NumericalError: a moment cannot be factorised; the message names the expert.
    """
    shares, found = [], []
    for one in _experts(stack, weight, statistics):
        (factors,) = factorize_group(one.group, one.weights, one.statistics, _plain(metric), damping, shrinkage)
        shares.append(one.share)
        found.append(factors)
    return Factors(
        (stack.name,),
        found[0].on_output_side,
        torch.stack([factors.basis for factors in found]),
        torch.stack([factors.dual for factors in found]),
        _energies(metric, shares, [factors.energies for factors in found]),
        _weighted(shares, [factors.nats for factors in found]),
        None,
        max(factors.damping for factors in found),
    )


def stack_energies(
    stack: Projection,
    weight: torch.Tensor,
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> torch.Tensor:
    """Return only the energies of :func:`factorize_stack`; much cheaper."""
    shares: list[float] = []
    found: list[torch.Tensor] = []
    for one in _experts(stack, weight, statistics):
        of_expert = group_energies(one.group, one.weights, one.statistics, _plain(metric), damping, shrinkage)
        shares.append(one.share)
        found += of_expert.values()
    return _energies(metric, shares, found)


@dataclass(frozen=True, slots=True)
class _Expert:
    """One expert as a projection of its own, with the share of all tokens that it is given."""

    group: InputGroup
    weights: dict[str, torch.Tensor]
    statistics: LayerStatistics
    share: float


def _experts(stack: Projection, weight: torch.Tensor, statistics: LayerStatistics) -> Iterator[_Expert]:
    own_values = (statistics.outputs if is_wide(stack) else statistics.inputs)[stack.name]
    own_gradients = statistics.gradients[stack.name]
    counts, n_tokens = statistics.counts[stack.name].tolist(), statistics.n_tokens
    in_common = _Common.of(stack, weight, statistics)
    for index, count in enumerate(counts):
        single = replace(stack, name=f"{stack.name}[{index}]", experts=None)
        matrix = weight[index]
        if count >= min(stack.out_features, stack.in_features):
            values, gradients = (moment[index] * (n_tokens / count) for moment in (own_values, own_gradients))
        else:
            values, gradients = in_common.moments(matrix.double())
        moments = LayerStatistics(
            stack.layer,
            n_tokens,
            {} if is_wide(stack) else {single.name: values},
            {single.name: torch.zeros(1, stack.in_features, device=weight.device)},
            {single.name: values} if is_wide(stack) else {},
            {single.name: gradients},
        )
        yield _Expert(InputGroup((single,)), {single.name: matrix}, moments, count / n_tokens)


@dataclass(frozen=True, slots=True)
class _Common:
    """What the experts of a stack have in common, per token that one of them is given.

    Attributes:
        stack: the projection.
        moment: of the inputs (in, in) of gate and up, or of the gradients by the outputs (out, out) of down.
        variance: mean square of the gradient by a neuron of gate and up, or of a neuron that down reads.
    """

    stack: Projection
    moment: torch.Tensor
    variance: torch.Tensor

    @classmethod
    def of(cls, stack: Projection, weight: torch.Tensor, statistics: LayerStatistics) -> _Common:
        assert stack.experts is not None
        counts = statistics.counts[stack.name].double()
        per_token = statistics.n_tokens / counts.sum()
        values = (statistics.outputs if is_wide(stack) else statistics.inputs)[stack.name].double().sum(0)
        gradients = statistics.gradients[stack.name].double().sum(0)
        shared, own = (values, gradients) if stack.experts.share_input else (gradients, values)
        moment = statistics.common[stack.name].double() if stack.name in statistics.common else shared
        # A moment on the smaller side is of neurons themselves, or of what the weights make of them.
        is_of_neurons = stack.name in statistics.common
        sizes = (weight.double().flatten(1).pow(2).sum(1) * counts).sum() / counts.sum()
        neurons = stack.out_features if stack.experts.share_input else stack.in_features
        return cls(stack, moment * per_token, own.trace() * per_token / (neurons if is_of_neurons else sizes))

    def moments(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the moments of values and of gradients, on the smaller side, of an expert with a weight (out, in)."""
        assert self.stack.experts is not None
        shares_input, wide = self.stack.experts.share_input, is_wide(self.stack)
        if shares_input is wide:
            # The side that is decomposed is that of neurons.
            even = self.variance * torch.eye(len(weight) if wide else weight.shape[1]).to(weight)
            seen = weight @ self.moment @ weight.T if wide else weight.T @ self.moment @ weight
            return (seen, even) if wide else (even, seen)
        even = self.variance * (weight @ weight.T if wide else weight.T @ weight)
        return (even, self.moment) if wide else (self.moment, even)


def _plain(metric: Metric) -> Metric:
    return Metric.INPUT if metric is Metric.FEATURE else metric


def _energies(metric: Metric, shares: list[float], energies: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(energies).sum(0) if metric is Metric.WEIGHT else _weighted(shares, energies)


def _weighted(shares: list[float], values: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack([share * value for share, value in zip(shares, values, strict=True)]).sum(0)
