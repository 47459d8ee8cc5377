"""Train a compressed model's factors block by block: each decoder layer against the dense layer's outputs.

References:
    AA-SVD, arXiv:2604.02119 (block refinement against the dense layer's outputs). The weighting of
    tokens by their size is ours.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from engine.errors import NumericalError
from engine.layers import FactoredLinear, LowRankInner, SkipInner
from engine.refinement.replay import run_layer
from engine.refinement.targets import token_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.refinement.sweep import LayerPair
    from engine.specs import TrainingSpec

_MATRIX = 2
_LEAST_SCALE = 1e-4


class _Scaled(nn.Module):
    """A factor written as an array of ordinary size times the scale of its rows and columns.

    Columns that read a feature of large variance are small, and a step of the same size everywhere would drown
    what they say; in this form an optimiser's steps are in relation to what is there.
    """

    scale: torch.Tensor

    def __init__(self, factor: torch.Tensor) -> None:
        super().__init__()
        squares = factor.detach().pow(2)
        mean = squares.mean().clamp_min(torch.finfo(factor.dtype).tiny)
        rows, columns = squares.mean(1, keepdim=True) / mean, squares.mean(0, keepdim=True) / mean
        scale = (mean * rows.clamp_min(_LEAST_SCALE) * columns.clamp_min(_LEAST_SCALE)).sqrt()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, relative: torch.Tensor) -> torch.Tensor:
        """Return the factor."""
        return relative * self.scale

    def right_inverse(self, factor: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`forward`."""
        return factor / self.scale


@contextlib.contextmanager
def _factors_in_training(layer: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Yield the factors of a layer, shared ones once, as parameters of ordinary size; they stay as they end up."""
    modules = [m for m in layer.modules() if isinstance(m, (FactoredLinear, LowRankInner, SkipInner))]
    places = [
        (module, name)
        for module in modules
        for name, parameter in list(module.named_parameters(recurse=False))
        if parameter.ndim == _MATRIX and parameter.numel()
    ]
    parameters = []
    for module, name in places:
        parametrize.register_parametrization(module, name, _Scaled(getattr(module, name)))
        parameters.append(dict(module.named_parameters())[f"parametrizations.{name}.original"])
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for module, name in places:
            parametrize.remove_parametrizations(module, name, leave_parametrized=True)
            getattr(module, name).requires_grad_(False)


def train_layer(pair: LayerPair, spec: TrainingSpec, deadline: float) -> None:
    """Train the factors of one layer in place, so that it gives what the dense layer gives.

    Every token's squared error counts in relation to its size, because the next layer normalises it. A layer that
    training did not bring nearer on the whole text stays as it was.

    Args:
        pair: the layer, what enters it and what shall leave it.
        spec: epochs, rate, order.
        deadline: on :func:`time.monotonic`'s clock; no step begins after it.

    Raises:
        NumericalError: the error is not finite before training.
    """
    modules = [m for m in pair.compressed.modules() if isinstance(m, FactoredLinear)]
    if not modules:
        return
    before = {(m, name): p.detach().clone() for m in modules for name, p in m.named_parameters()}
    error = _error(pair)
    if not math.isfinite(error):
        raise NumericalError(
            f"The error of layer {pair.index} is {error} before training; expected a finite number, try the compute "
            "dtype float32."
        )
    _descend(pair, spec, deadline)
    if not _error(pair) < error:
        with torch.no_grad():
            for (module, name), original in before.items():
                module.get_parameter(name).copy_(original)


def _descend(pair: LayerPair, spec: TrainingSpec, deadline: float) -> None:
    with _factors_in_training(pair.compressed) as parameters:
        optimiser = torch.optim.Adam(parameters, spec.learning_rate, betas=(0.9, 0.95))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, spec.epochs * len(pair.entering))
        generator = torch.Generator().manual_seed(spec.seed + pair.index)
        for _ in range(spec.epochs):
            for batch in torch.randperm(len(pair.entering), generator=generator).tolist():
                if time.monotonic() > deadline:
                    return
                loss = _batch_error(pair, batch)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()


@torch.no_grad()
def _error(pair: LayerPair) -> float:
    return sum(_batch_error(pair, batch).item() for batch in range(len(pair.entering))) / len(pair.entering)


def _batch_error(pair: LayerPair, batch: int) -> torch.Tensor:
    wanted = pair.leaving[batch]
    error = run_layer(pair.compressed, pair.entering[batch], pair.calls, pair.dtype) - wanted
    return (error.pow(2) * token_weights(wanted)).mean()
