"""Post-training of a compressed model's diagonals: left becomes left * (1 + b dᵀ), and nothing grows.

The published form is y = (left right + diag(b) left' diag(d) right') x with frozen slices left' and right'. Its
slices are chosen here as left and right themselves: then diag(b) left diag(d) right has the row space of right, so
that left + diag(b) left diag(d) takes its place at the same rank, and out + r numbers train per projection.

References:
    Bolaco, arXiv:2405.10616; VeRA, arXiv:2310.11454 (training only diagonals between frozen factors).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from engine.compression.layers import FactoredLinear
from engine.errors import InvalidSpecError, NumericalError
from engine.model.module import device_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.progress import Report
    from engine.specs import PostTrainingSpec


class DiagonalLinear(nn.Module):
    """y = (left * (1 + b dᵀ)) z + bias around a factored projection; begins as the projection itself.

    Args:
        factored: stays as it is.
    """

    def __init__(self, factored: FactoredLinear) -> None:
        super().__init__()
        self.factored = factored
        left = factored.left.weight
        out, rank = left.shape
        # b = 0 changes nothing at first, and d = 1 gives it a gradient.
        self.b = nn.Parameter(torch.zeros(out, device=left.device))
        self.d = nn.Parameter(torch.ones(rank, device=left.device))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., in) to (..., out)."""
        left = self.factored.left
        return functional.linear(self.factored.inner(x), scaled_left(left.weight, self.b, self.d), left.bias)


def scaled_left(left: torch.Tensor, b: torch.Tensor, d: torch.Tensor) -> torch.Tensor:
    """Return left + diag(b) left diag(d), (out, r)."""
    return left * (1 + torch.outer(b, d)).to(left)


def train_diagonals(
    module: nn.Module, tokens: torch.Tensor, spec: PostTrainingSpec, report: Report
) -> dict[str, torch.Tensor]:
    """Train the diagonals of every factored projection and merge them into ``module``.

    Args:
        module: from ``engine.compression.apply.compress``; its left factors are replaced by the trained ones.
        tokens: (n_sequences, length) text to train on.
        spec: how long and how fast.
        report: told the loss of every step.

    Returns:
        ``b/NAME`` (out,) and ``d/NAME`` (r,) for every factored projection; see :func:`merge_diagonals`.

    Raises:
        InvalidSpecError: the model has no factored projection.
        NumericalError: the loss is not finite.
    """
    wrapped = _wrap(module)
    if not wrapped:
        raise InvalidSpecError("The model has no factored projection to train; compress it with a rank map first.")
    try:
        _train(module, wrapped, tokens, spec, report)
    finally:
        _unwrap(module, wrapped)
    diagonals = {
        f"{which}/{name}": getattr(layer, which).detach().cpu() for name, layer in wrapped.items() for which in "bd"
    }
    merge_diagonals(module, diagonals)
    return diagonals


@torch.no_grad()
def merge_diagonals(module: nn.Module, diagonals: Mapping[str, torch.Tensor]) -> None:
    """Put trained diagonals into the left factors of a compressed model; ranks and cost stay as they are."""
    for name, part in module.named_modules():
        if isinstance(part, FactoredLinear):
            left = part.left.weight
            b, d = (diagonals[f"{which}/{name}"].to(left.device) for which in "bd")
            part.left.weight = nn.Parameter(scaled_left(left, b, d), requires_grad=False)


def _wrap(module: nn.Module) -> dict[str, DiagonalLinear]:
    found = [(name, part) for name, part in module.named_modules() if isinstance(part, FactoredLinear)]
    wrapped = {name: DiagonalLinear(part) for name, part in found}
    for name, layer in wrapped.items():
        _replace(module, name, layer)
    return wrapped


def _unwrap(module: nn.Module, wrapped: Mapping[str, DiagonalLinear]) -> None:
    for name, layer in wrapped.items():
        _replace(module, name, layer.factored)


def _replace(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, part)


def _train(
    module: nn.Module,
    wrapped: Mapping[str, DiagonalLinear],
    tokens: torch.Tensor,
    spec: PostTrainingSpec,
    report: Report,
) -> None:
    trained = [p for layer in wrapped.values() for p in (layer.b, layer.d)]
    # The dense model shares its tensors with this one, so that their flags are put back.
    frozen = [p for p in module.parameters() if p.requires_grad and not any(p is t for t in trained)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    optimizer = torch.optim.Adam(trained, lr=spec.learning_rate)
    generator = torch.Generator().manual_seed(spec.seed)
    device = device_of(module)
    begun = time.monotonic()
    try:
        for step in range(spec.max_steps):
            elapsed = (time.monotonic() - begun) / 60
            if elapsed >= spec.minutes:
                break
            chosen = torch.randint(len(tokens), (min(spec.batch_size, len(tokens)),), generator=generator)
            batch = tokens[chosen].to(device)
            logits = module(input_ids=batch, use_cache=False).logits[:, :-1].float()
            loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
            if not torch.isfinite(loss):
                raise NumericalError(
                    f"The loss of post-training is not finite at step {step + 1}; lower the learning rate."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done = min(max(elapsed / spec.minutes, (step + 1) / spec.max_steps), 1.0)
            report("post-training", done, f"Post-training: step {step + 1}, loss {loss.item():.3f}")
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
