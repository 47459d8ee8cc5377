"""Statistics of a model that is compressed already, for factors that fit it better.

A second moment taken on the dense model describes inputs and gradients that the compressed model does not
have. Taking the moments where the compressed model is, and factorising the original weights again with
them, moves the centre of the second-order expansion to where it is used.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from engine.model.module import weight_matrix
from engine.model.stacks import part_named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from engine.factorization.blocks import Factors
    from engine.types import BlockRank


@contextlib.contextmanager
def truncated_weights(
    module: nn.Module, blocks: Sequence[BlockRank], factors_of: Callable[[tuple[str, ...]], Factors]
) -> Iterator[None]:
    """Put the truncated weights W_r in the place of W, and the original ones back at the end.

    The modules stay what they are, so hooks and gradients work as on the dense model. Biases are not
    touched: a metric with an offset is not for this.

    Args:
        module: the dense model; changed in place while the context is open.
        blocks: a checked rank map; dense blocks stay.
        factors_of: member names -> the stored factors of that block.
    """
    originals: list[tuple[torch.Tensor, torch.Tensor]] = []
    try:
        for block in blocks:
            if block.rank is None:
                continue
            weights = [weight_matrix(part_named(module, name)) for name in block.members]
            with torch.no_grad():
                left, right = factors_of(block.members).at_rank(block.rank, torch.cat(weights).float())
                for weight, rows in zip(weights, left.split([len(w) for w in weights]), strict=True):
                    originals.append((weight, weight.clone()))
                    weight.copy_(rows @ right)
        yield
    finally:
        with torch.no_grad():
            for weight, original in originals:
                weight.copy_(original)
