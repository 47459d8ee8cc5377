"""Statistics of a model that is compressed already, for factors that fit it better.

A second moment taken on the dense model describes inputs and gradients that the compressed model does not
have. Taking the moments where the compressed model is, and factorising the original weights again with
them, moves the centre of the second-order expansion to where it is used.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from engine.factorization.neurons import Neurons
from engine.model.module import weight_matrix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from engine.factorization.blocks import Factors
    from engine.types import BlockRank


@contextlib.contextmanager
def truncated_weights(
    module: nn.Module, blocks: Sequence[BlockRank], factors_of: Callable[[tuple[str, ...]], Factors | Neurons]
) -> Iterator[None]:
    """Put the truncated weights W_r in the place of W, and the original ones back at the end.

    The modules stay what they are, so hooks and gradients work as on the dense model: an MLP's dropped neurons meet
    columns of zeros in ``down``. Of biases only those that take over the mean of dropped neurons are touched; a metric
    with an offset is not for this.

    Args:
        module: the dense model; changed in place while the context is open.
        blocks: a checked rank map; dense blocks stay.
        factors_of: member names -> the stored factors of that block.
    """
    modules = dict(module.named_modules())
    originals: list[tuple[torch.Tensor, torch.Tensor]] = []

    def put(tensor: torch.Tensor, values: torch.Tensor) -> None:
        originals.append((tensor, tensor.clone()))
        tensor.copy_(values)

    try:
        with torch.no_grad():
            for block in blocks:
                if block.rank is not None:
                    linears = [modules[name] for name in block.members]
                    _truncate(linears, block.rank, factors_of(block.members), put)
        yield
    finally:
        with torch.no_grad():
            for tensor, original in originals:
                tensor.copy_(original)


def _truncate(
    linears: Sequence[nn.Module],
    rank: int,
    factors: Factors | Neurons,
    put: Callable[[torch.Tensor, torch.Tensor], None],
) -> None:
    weights = [weight_matrix(linear) for linear in linears]
    if isinstance(factors, Neurons):
        whole, bias = weights[-1].float(), getattr(linears[-1], "bias", None)
        shift = factors.shift(rank, whole)
        put(weights[-1], factors.truncated(rank, whole))
        if bias is not None and shift is not None:
            put(bias, bias + shift)
        return
    left, right = factors.at_rank(rank, torch.cat(weights).float())
    for weight, rows in zip(weights, left.split([len(w) for w in weights]), strict=True):
        put(weight, rows @ right)
