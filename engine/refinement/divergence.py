"""How far a model's predictions are from another's, with a gradient that needs little memory."""

from __future__ import annotations

from typing import Any

import torch

from engine.model.module import device_for_float64

_TOKENS_AT_ONCE = 256


class _Divergence(torch.autograd.Function):
    """The gradient by the logits of q is (q - p) / n: it is made beside the value, and nothing else is kept."""

    @staticmethod
    def forward(ctx: Any, given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Return the mean over the rows of ``given`` and ``wanted`` (n, vocabulary)."""
        gradient = torch.empty_like(given)
        total = torch.zeros((), dtype=torch.float64, device=device_for_float64(given.device))
        parts = (tensor.split(_TOKENS_AT_ONCE) for tensor in (given, wanted, gradient))
        for of_given, of_wanted, of_gradient in zip(*parts, strict=True):
            log_q, log_p = of_given.float().log_softmax(-1), of_wanted.float().log_softmax(-1)
            p = log_p.exp()
            total += (p * (log_p - log_q)).sum().to(total)
            of_gradient.copy_((log_q.exp() - p) / len(given))
        ctx.save_for_backward(gradient)
        return (total / len(given)).float().to(given.device)

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the gradient by ``given``."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream.to(gradient), None


def divergence(given: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return KL(p || q), the mean over tokens in nats; gradients go to ``given`` only.

    Args:
        given: (..., vocabulary) logits of q.
        wanted: the same of p.
    """
    value: torch.Tensor = _Divergence.apply(given.flatten(0, -2), wanted.detach().flatten(0, -2))
    return value
