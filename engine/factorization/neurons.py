"""An MLP with fewer neurons: which go, what that costs, and what the kept ones say of the dropped ones.

With h the input of ``down`` (weight W), C = E[h h^T] and A = W^T H W, leaving out all neurons but those in S and
predicting the rest from them costs half tr(A (C - C[:, S] C[S, S]^-1 C[S, :])) nats per token: the discarded energy of
the loss metric, which is what a rank costs, too.

References:
    Hassibi and Stork 1993, Second order derivatives for network pruning: Optimal Brain Surgeon, for single weights.
    ZipLM, arXiv:2302.04089: for structures. MoDeGPT, arXiv:2408.09632: the closed form of ``down``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

from engine.errors import NumericalError
from engine.factorization.blocks import input_gradient, shrunk_gradient
from engine.factorization.decomposition import cholesky_damped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.calibration.statistics import LayerStatistics
    from engine.types import Mlp, Projection

STEPS: Final = 128
"""In about as many steps the neurons of a large MLP leave; those of one step in the order of their single harms."""
STEPS_IN_PLACE: Final = 8
"""After as many steps the rows and columns of neurons that have gone are dropped."""
STRIP: Final = 256
"""Rows that are moved at once when that is done."""


@dataclass(frozen=True, slots=True)
class Neurons:
    """What an MLP of every width is made from; a width is a prefix of one order, as a rank is.

    Attributes:
        members: names of the projections, ``down`` last.
        order: (m,) neurons, the most needed first.
        factor: (m, m) float32, the lower Cholesky factor of C in that order.
        nats: (m + 1,) float64, half the loss-metric energy discarded with n neurons kept; nats per token.
        offset: (m,) mean input of ``down`` around which C is taken, or ``None``: around zero. The narrowed ``down``
            then has (W - W') offset more in its bias.
        damping: relative damping that C needed.
    """

    members: tuple[str, ...]
    order: torch.Tensor
    factor: torch.Tensor
    nats: torch.Tensor
    offset: torch.Tensor | None
    damping: float

    def kept(self, count: int) -> torch.Tensor:
        """Return the (count,) neurons that are kept, ascending."""
        return self.order[:count].sort().values

    def down(self, count: int, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight (d, count) of ``down`` that reads :meth:`kept`, given the whole one (d, m)."""
        order = self.order.to(weight.device)
        factor = self.factor.to(weight)
        ordered = weight[:, order]
        # With C = L L^T the dropped neurons' best prediction from the kept ones is L[R, S] L[S, S]^-1.
        foreseen = torch.linalg.solve_triangular(
            factor[:count, :count], ordered[:, count:] @ factor[count:, :count], upper=False, left=False
        )
        narrow: torch.Tensor = (ordered[:, :count] + foreseen)[:, order[:count].argsort()]
        return narrow

    def truncated(self, count: int, weight: torch.Tensor) -> torch.Tensor:
        """Return (d, m): :meth:`down` with zeros for the neurons that are dropped."""
        result = torch.zeros_like(weight)
        result[:, self.kept(count).to(weight.device)] = self.down(count, weight)
        return result

    def shift(self, count: int, weight: torch.Tensor) -> torch.Tensor | None:
        """Return what :meth:`down` has more in its bias (d,) than the whole weight (d, m); ``None``: nothing."""
        if self.offset is None:
            return None
        return (weight - self.truncated(count, weight)) @ self.offset.to(weight)


def order_neurons(
    mlp: Mlp,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    damping: float,
    shrinkage: float = 0.0,
    *,
    has_bias: bool,
) -> Neurons:
    """Return the order of an MLP's neurons and what every width of it costs.

    Args:
        mlp: whose neurons.
        weights: projection name -> W (out, in).
        statistics: of the MLP's layer, with the second moment of ``down``'s input.
        damping: first relative damping of C's Cholesky factorisation.
        shrinkage: share of the mean gradient variance in the gradients' second moment, in [0, 1).
        has_bias: whether ``down`` has a bias, which takes over the mean of what is dropped.

    Raises:
        NumericalError: C cannot be factorised; the message names ``down``.
    """
    down = mlp.down
    moment, offset = _moment_around_mean(statistics, down, has_bias=has_bias)
    factor, used = cholesky_damped(moment, damping, down.name)
    del moment  # the largest MLPs have room for three such matrices
    # A Cholesky inverse is symmetric and lies column by column.
    order = _by_elimination(_harm(down, weights, statistics, shrinkage), torch.cholesky_inverse(factor).T)
    moment = factor @ factor.T
    del factor
    moment = moment[order[:, None], order]
    ordered, failed = torch.linalg.cholesky_ex(moment)
    del moment
    if failed:
        raise NumericalError(f"The second moment of {down.name} is indefinite once ordered; use more calibration text.")
    harm = _harm(down, weights, statistics, shrinkage)
    harm = harm[order[:, None], order]
    energies = (harm @ ordered).mul_(ordered).sum(0).clamp_min(0)
    nats = torch.cat([energies.flip(0).cumsum(0).flip(0), energies.new_zeros(1)]) / 2
    return Neurons(
        tuple(p.name for p in mlp.members),
        order,
        ordered.float(),
        nats,
        None if offset is None else offset.float(),
        used,
    )


def _moment_around_mean(
    statistics: LayerStatistics, down: Projection, *, has_bias: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return C (m, m), and the mean input (m,) around which it is taken, if a bias takes over what is dropped."""
    moment = statistics.inputs[down.name]
    if not has_bias:
        return moment, None
    offset = statistics.means[down.name].double().mean(0)
    return moment.double() - torch.outer(offset, offset), offset


def _harm(
    down: Projection, weights: Mapping[str, torch.Tensor], statistics: LayerStatistics, shrinkage: float
) -> torch.Tensor:
    """Return A (m, m), a matrix of its own at every call."""
    weight = weights[down.name].double()
    return input_gradient(down, weight, shrunk_gradient(down, weight, statistics, shrinkage))


def _by_elimination(harm: torch.Tensor, precision: torch.Tensor) -> torch.Tensor:
    """Return all neurons, the last to go first, when those whose loss costs least go first.

    Args:
        harm: A (m, m); overwritten by what remains of it once the rest of the network reads what is left.
        precision: C^-1 (m, m); overwritten in the same way.
    """
    left = torch.arange(len(harm), device=harm.device)
    at_once = max(1, len(harm) // STEPS)
    order: list[torch.Tensor] = []
    while len(left):
        is_gone = torch.zeros(len(left), dtype=torch.bool, device=left.device)
        while not is_gone.all() and is_gone.sum() < STEPS_IN_PLACE * at_once:
            singly = (harm.diagonal() / precision.diagonal()).masked_fill(is_gone, torch.inf)
            go = singly.argsort(stable=True)[: min(at_once, int((~is_gone).sum()))]
            is_gone[go] = True
            order.append(left[go])
            foreseen = torch.linalg.solve(precision[go][:, go], precision[go])
            reads = harm[:, go]
            harm.addmm_(
                torch.cat([reads, foreseen.T], 1), torch.cat([foreseen, reads.T - reads[go] @ foreseen]), alpha=-1
            )
            precision.addmm_(precision[:, go], foreseen, alpha=-1)
        stay = (~is_gone).nonzero()[:, 0]
        harm, precision, left = _kept_in_place(harm, stay), _kept_in_place(precision, stay), left[stay]
    return torch.cat(order).flip(0)


def _kept_in_place(matrix: torch.Tensor, stay: torch.Tensor) -> torch.Tensor:
    """Return rows and columns ``stay`` (k,), ascending, of a matrix as (k, k) at the beginning of its own memory."""
    size = len(stay)
    kept = matrix.reshape(-1)[: size * size].view(size, size)
    # What is written ends before the rows that are still to be read.
    for into, rows in zip(kept.split(STRIP), stay.split(STRIP), strict=True):
        into.copy_(matrix[rows[:, None], stay])
    return kept


def fold_triangle(factor: torch.Tensor) -> torch.Tensor:
    """Return a lower triangle (m, m) without the zeros, as (ceil(m / 2), m or m + 1): its upper half fills the gap."""
    padded = torch.nn.functional.pad(factor, (0, len(factor) % 2, 0, len(factor) % 2))
    half = len(padded) // 2
    folded = padded.new_zeros(half, 2 * half + 1)
    folded[:, : 2 * half] = padded[half:].tril(half)
    folded[:, half + 1 :] += padded[:half, :half].tril().flip(0, 1)
    return folded


def unfold_triangle(folded: torch.Tensor, size: int) -> torch.Tensor:
    """Undo :func:`fold_triangle`; the result is (size, size)."""
    half = len(folded)
    factor = folded.new_zeros(2 * half, 2 * half)
    factor[half:] = folded[:, : 2 * half].tril(half)
    factor[:half, :half] = folded[:, half + 1 :].triu().flip(0, 1)
    return factor[:size, :size].contiguous()
