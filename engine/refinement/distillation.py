"""Train all factors of a compressed model together, so that it predicts what the dense model predicts.

References:
    Hinton et al., arXiv:1503.02531 (distillation). AA-SVD, arXiv:2604.02119, trains layer by layer against the dense
    layers' outputs instead; here that helped little, because the error of a layer is no proxy for the loss
    (docs/benchmarks.md).
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from engine.compression.layers import FactoredLinear, NarrowedLinear
from engine.errors import NumericalError
from engine.model.module import device_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from engine.progress import Report
    from engine.specs import TrainingSpec

_LEAST_SCALE = 1e-4
_BETAS = (0.9, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Where training stands after a number of epochs.

    Attributes:
        epochs: finished.
        tensors: of every factor, in order: its value in training and Adam's two moments.
    """

    epochs: int
    tensors: dict[str, torch.Tensor]


def distil(
    dense: nn.Module,
    compressed: nn.Module,
    tokens: torch.Tensor,
    spec: TrainingSpec,
    report: Report,
    *,
    batch_size: int,
    compute_dtype: str,
    deadline: float,
    start: Checkpoint | None = None,
    save: Callable[[Checkpoint], None] = lambda _: None,
) -> int:
    """Train the factors of ``compressed`` in place and return the number of epochs finished.

    Args:
        dense: what it was made from; not changed.
        compressed: a model with factored projections, in float32.
        tokens: (n_sequences, length) text.
        spec: epochs, rate, order.
        report: told after every step.
        batch_size: sequences per step.
        compute_dtype: autocast type of passes.
        deadline: on :func:`time.monotonic`'s clock; no step begins after it.
        start: where an earlier run from the same factors stood.
        save: given a checkpoint after every epoch.

    Raises:
        NumericalError: the divergence is not finite.
    """
    batches = tokens.to(device_of(dense)).split(batch_size)
    dtype = getattr(torch, compute_dtype)
    n_steps = spec.epochs * len(batches)
    with _factors_in_training(compressed) as factors:
        optimiser = torch.optim.Adam(factors, spec.learning_rate, betas=_BETAS)
        first = 0 if start is None else start.epochs
        if start is not None:
            _restore(start, factors, optimiser, first * len(batches))
        for epoch in range(first, spec.epochs):
            order = torch.randperm(len(batches), generator=torch.Generator().manual_seed(spec.seed + epoch)).tolist()
            for place, index in enumerate(order):
                if time.monotonic() > deadline:
                    return epoch
                step = epoch * len(batches) + place
                optimiser.param_groups[0]["lr"] = spec.learning_rate * (1 + math.cos(math.pi * step / n_steps)) / 2
                loss = _divergence(dense, compressed, batches[index], dtype)
                if not torch.isfinite(loss):
                    raise NumericalError(
                        f"The divergence from the dense model became {loss.item()} in training; use a lower learning "
                        f"rate than {spec.learning_rate:g} or the compute dtype float32."
                    )
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                message = f"Training: step {step + 1} of {n_steps}, divergence {loss.item():.3f}"
                report("training", (step + 1) / n_steps, message)
            save(_checkpoint(epoch + 1, factors, optimiser))
    return spec.epochs


def _divergence(dense: nn.Module, compressed: nn.Module, batch: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return KL(dense || compressed), the mean over tokens in nats."""
    with torch.autocast(batch.device.type, dtype=dtype, enabled=dtype is not torch.float32):
        with torch.no_grad():
            wanted = dense(input_ids=batch, use_cache=False).logits
        given = compressed(input_ids=batch, use_cache=False).logits
    target = wanted.flatten(0, 1).float().log_softmax(-1)
    return functional.kl_div(
        given.flatten(0, 1).float().log_softmax(-1), target, log_target=True, reduction="batchmean"
    )


def _checkpoint(epochs: int, factors: list[nn.Parameter], optimiser: torch.optim.Adam) -> Checkpoint:
    tensors: dict[str, torch.Tensor] = {}
    for index, factor in enumerate(factors):
        state = optimiser.state[factor]
        values = {"value": factor, "first": state["exp_avg"], "second": state["exp_avg_sq"]}
        tensors |= {f"{index}/{name}": value.detach().cpu().clone() for name, value in values.items()}
    return Checkpoint(epochs, tensors)


@torch.no_grad()
def _restore(start: Checkpoint, factors: list[nn.Parameter], optimiser: torch.optim.Adam, n_steps: int) -> None:
    for index, factor in enumerate(factors):
        factor.copy_(start.tensors[f"{index}/value"])
        optimiser.state[factor] = {
            "step": torch.tensor(float(n_steps)),
            "exp_avg": start.tensors[f"{index}/first"].to(factor),
            "exp_avg_sq": start.tensors[f"{index}/second"].to(factor),
        }


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
def _factors_in_training(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Yield factors and narrowed matrices, shared ones once, as parameters of ordinary size; they stay as they end up.

    Meanwhile nothing else takes gradients: the rest is shared with the dense model.
    """
    compressed = [m for m in model.modules() if isinstance(m, FactoredLinear | NarrowedLinear)]
    # A group's inner factor is listed under one of its members only.
    modules = [m for part in compressed for m in part.modules() if isinstance(m, nn.Linear) and m.weight.numel()]
    places = [(module, "weight") for module in modules]
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
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
        for parameter in frozen:
            parameter.requires_grad_(True)
