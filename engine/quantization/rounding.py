"""A model with the weights of its projections rounded by torchao.

The rounded weights run in the type they had, as weight-only kernels run them: what rounding does to quality is seen on
every device, what it does to speed is not.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from engine.compression.layers import FactoredLinear
from engine.errors import ModelError
from engine.model.experts import ExpertStack
from engine.model.module import weight_matrix
from engine.model.stacks import put_stacks_

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engine.precision import Rounding


def rounded(module: nn.Module, projections: Iterable[str], rounding: Rounding) -> nn.Module:
    """Return a model with rounded projections; everything else is shared with ``module``, which is not changed.

    Args:
        module: dense or compressed.
        projections: names of its compressible projections.
        rounding: of each of their matrices, dense or factor.

    Raises:
        ModelError: torchao is not there.
    """
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    result, projections = copy.deepcopy(module, shared), list(projections)
    put_stacks_(result, projections)
    for part in linear_parts(result, projections):
        weight = weight_matrix(part).detach()
        nearest = round_matrix(weight.flatten(0, -2), rounding).view_as(weight)
        kept = nearest.T.contiguous() if isinstance(part, Conv1D) else nearest
        part.weight = nn.Parameter(kept, requires_grad=False)
    return result


@torch.no_grad()
def round_matrix(matrix: torch.Tensor, rounding: Rounding) -> torch.Tensor:
    """Return a matrix (out, in) with every weight replaced by the nearest that its scale and an integer can say.

    Raises:
        ModelError: torchao is not there.
    """
    integers, scales = round_to_integers(matrix, rounding)
    groups = integers.shape[1] if rounding.group_size is None else rounding.group_size
    nearest = integers * scales.float().repeat_interleave(groups, dim=1)[:, : integers.shape[1]]
    return nearest.to(matrix.dtype).contiguous()


@torch.no_grad()
def round_to_integers(matrix: torch.Tensor, rounding: Rounding) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the nearest integers (out, in) of a matrix, as int8, and their scales (out, groups), as bfloat16.

    Raises:
        ModelError: torchao is not there.
    """
    torchao = _torchao()
    columns = matrix.shape[1]
    # Zeros behind a short group change neither its scale nor its integers; torchao has no groups of one.
    size = max(columns, 2) if rounding.group_size is None else rounding.group_size
    weights = functional.pad(matrix.float(), (0, -columns % size))
    low, high = -(2 ** (rounding.bits - 1)), 2 ** (rounding.bits - 1) - 1
    how = torchao.MappingType.SYMMETRIC_NO_CLIPPING_ERR
    found, zero = torchao.choose_qparams_affine(weights, how, (1, size), torch.int8, low, high)
    scale = found.bfloat16().float()
    integers = torchao.quantize_affine(weights, (1, size), scale, zero, torch.int8, low, high)
    return integers[:, :columns].contiguous(), scale.bfloat16().reshape(len(matrix), -1)


def torchao_version() -> str:
    """Return the version of the package that rounds.

    Raises:
        ModelError: it is not there.
    """
    _torchao()
    from importlib.metadata import version

    return version("torchao")


def _torchao() -> Any:
    try:
        from torchao.quantization import quant_primitives
    except ImportError as error:
        raise ModelError(
            "Weights are rounded by the package torchao, which cannot be imported here; install it with: pip install "
            "torchao, or measure at 16 bits."
        ) from error
    return quant_primitives


def linear_parts(module: nn.Module, projections: Iterable[str]) -> Iterator[nn.Module]:
    """Yield the linear modules of the projections and stacks, those of their factors among them, shared ones once."""
    seen: set[nn.Module] = set()
    for name in projections:
        part = module.get_submodule(name)
        for linear in [part.left, part.inner] if isinstance(part, FactoredLinear) else [part]:
            for one in linear.modules():
                if isinstance(one, nn.Linear | Conv1D | ExpertStack) and one not in seen:
                    seen.add(one)
                    yield one
