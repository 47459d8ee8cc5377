"""Factor whatever an input group holds: its members and all of them together, or a stack of experts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.factorization.blocks import factorize_group, group_energies
from engine.factorization.experts import factorize_stack, stack_energies
from engine.types import block_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from engine.calibration.statistics import LayerStatistics
    from engine.factorization.blocks import Factors
    from engine.types import InputGroup, Metric


def factorize(
    group: InputGroup,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> list[Factors]:
    """Return the factors of every block of a group.

    Args:
        group: projections that read the same input, or a stack.
        weights: projection name -> W (out, in), of a stack (experts, out, in).
        statistics: of the group's layer.
        metric: what is decomposed.
        damping: first relative damping of Cholesky factorisations.
        shrinkage: share of the mean gradient variance in the gradients' second moment, in [0, 1).

    Raises:
        NumericalError: a moment cannot be factorised; the message names the block.
    """
    if group.is_stack:
        (stack,) = group.members
        return [factorize_stack(stack, weights[stack.name], statistics, metric, damping, shrinkage)]
    return factorize_group(group, weights, statistics, metric, damping, shrinkage)


def energies(
    group: InputGroup,
    weights: Mapping[str, torch.Tensor],
    statistics: LayerStatistics,
    metric: Metric,
    damping: float,
    shrinkage: float = 0.0,
) -> dict[str, torch.Tensor]:
    """Return only the energies of :func:`factorize`, by block name; much cheaper."""
    if group.is_stack:
        (stack,) = group.members
        found = stack_energies(stack, weights[stack.name], statistics, metric, damping, shrinkage)
        return {stack.name: found}
    of_group = group_energies(group, weights, statistics, metric, damping, shrinkage)
    return {block_name(members): values for members, values in of_group.items()}
