"""Perplexity, divergence from the dense model and top-1 agreement with it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from engine.errors import NumericalError
from engine.evaluation.streamed import LayerByLayer
from engine.model.head import Head
from engine.model.module import device_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import nn

    from engine.progress import Report
    from engine.specs import EvaluationSpec


@dataclass(frozen=True, slots=True)
class DenseReference:
    """What the dense model predicts for every scored token, in bounded memory.

    Attributes:
        nll: (n_tokens,) float32, nats.
        top_log_probs: (n_tokens, k) float32, the k largest log-probabilities, descending.
        top_tokens: (n_tokens, k) int32, their tokens.
    """

    nll: torch.Tensor
    top_log_probs: torch.Tensor
    top_tokens: torch.Tensor

    @property
    def perplexity(self) -> float:
        """Exp of the mean NLL."""
        return math.exp(self.nll.double().mean().item())


@dataclass(frozen=True, slots=True)
class Measurement:
    """How a model does on a text, beside the dense one.

    Attributes:
        nll: nats per token: the sum over all scored tokens divided once by their count.
        dense_nll: the same of the dense model on the same tokens.
        divergence: KL(dense || model) in nats per token over the dense model's top k tokens and one
            bucket for the rest; a lower bound of the full divergence.
        agreement: fraction of positions where both models put the same token first; where one has several with the
            same probability, as happens in half precision, any of them counts.
        n_tokens: scored tokens.
        token_nll: (n_tokens,) float32, nats of every one.
    """

    nll: float
    dense_nll: float
    divergence: float
    agreement: float
    n_tokens: int
    token_nll: torch.Tensor = field(compare=False, repr=False)

    @property
    def perplexity(self) -> float:
        """Exp of the mean NLL."""
        return math.exp(self.nll)

    @property
    def dense_perplexity(self) -> float:
        """Exp of the dense model's mean NLL."""
        return math.exp(self.dense_nll)


def take_reference(
    module: nn.Module | LayerByLayer,
    tokens: torch.Tensor,
    spec: EvaluationSpec,
    report: Report,
    autocast_to: torch.dtype = torch.float32,
) -> DenseReference:
    """Run the dense model over ``tokens`` (n_sequences, length), with products in ``autocast_to``.

    Raises:
        NumericalError: a loss is not finite.
    """
    parts: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
    for labels, log_probs in _log_probs(module, tokens, spec, report, "dense model", autocast_to):
        top = log_probs.topk(min(spec.top_k, log_probs.shape[-1]), dim=-1)
        nll = -log_probs.gather(1, labels[:, None])[:, 0]
        parts.append((nll.cpu(), top.values.cpu(), top.indices.to(torch.int32).cpu()))
    nlls, values, indices = zip(*parts, strict=True)
    return DenseReference(torch.cat(nlls), torch.cat(values), torch.cat(indices))


def measure(
    module: nn.Module | LayerByLayer,
    tokens: torch.Tensor,
    reference: DenseReference,
    spec: EvaluationSpec,
    report: Report,
    autocast_to: torch.dtype = torch.float32,
) -> Measurement:
    """Run a model over the tokens the reference was taken on, as :func:`take_reference` does.

    Raises:
        NumericalError: a loss is not finite; the message names the first decoder layer where it happens.
    """
    nll = divergence = torch.zeros((), dtype=torch.float64)
    agreeing = start = 0
    token_nll: list[torch.Tensor] = []
    for labels, log_probs in _log_probs(module, tokens, spec, report, "compressed model", autocast_to):
        rows = slice(start, start + len(labels))
        start = rows.stop
        dense = reference.top_log_probs[rows].to(log_probs.device)
        top = reference.top_tokens[rows].long().to(log_probs.device)
        # Not every device has float64.
        label_log_probs = log_probs.gather(1, labels[:, None])[:, 0].cpu()
        nll = nll - label_log_probs.double().sum()
        token_nll.append(-label_log_probs)
        model = log_probs.gather(1, top)
        first_of_both = (dense == dense[:, :1]) & (model == log_probs.amax(-1, keepdim=True))
        agreeing += int(first_of_both.any(-1).sum())
        divergence = divergence + _bucketed_divergence(dense, model).cpu().double().sum()
    return Measurement(
        nll.item() / start,
        reference.nll.double().mean().item(),
        divergence.item() / start,
        agreeing / start,
        start,
        torch.cat(token_nll),
    )


def _bucketed_divergence(dense: torch.Tensor, model: torch.Tensor) -> torch.Tensor:
    """Return (n,) KL over k tokens and one bucket holding the rest of the probability."""
    shown = (dense.exp() * (dense - model)).sum(-1)
    rest_dense = (1 - dense.exp().sum(-1)).clamp_min(1e-9)
    rest_model = (1 - model.exp().sum(-1)).clamp_min(1e-9)
    return shown + rest_dense * (rest_dense.log() - rest_model.log())


@torch.no_grad()
def _log_probs(
    module: nn.Module | LayerByLayer,
    tokens: torch.Tensor,
    spec: EvaluationSpec,
    report: Report,
    stage: str,
    autocast_to: torch.dtype,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield labels (n,) and log-probabilities (n, vocabulary), sequence by sequence."""
    batches, done = tokens.split(spec.batch_size), 0
    for batch, head in zip(batches, _heads(module, batches, report, stage, autocast_to), strict=True):
        with head.cast_once():
            for labels, logits in head.turns(head.states):
                log_probs = functional.log_softmax(logits.float(), dim=-1)
                if not torch.isfinite(log_probs.gather(1, labels[:, None])).all():
                    raise NumericalError(_not_finite(module, batch.to(logits.device)))
                yield labels, log_probs
        done += len(batch)
        report(stage, done / len(tokens), f"{stage.capitalize()}: {done} of {len(tokens)} sequences")


def _heads(
    module: nn.Module | LayerByLayer,
    batches: Sequence[torch.Tensor],
    report: Report,
    stage: str,
    autocast_to: torch.dtype,
) -> Iterator[Head]:
    if isinstance(module, LayerByLayer):
        yield from module.heads(batches, report, stage, autocast_to)
        return
    device = device_of(module)
    for batch in batches:
        yield Head(module, batch.to(device), autocast_to)


def _not_finite(module: nn.Module | LayerByLayer, batch: torch.Tensor) -> str:
    """Return a sentence naming the first module whose output is not finite, where a model in memory can be asked."""
    first = "in the loss" if isinstance(module, LayerByLayer) else _first_bad_layer(module, batch)
    return f"The model gives numbers that are not finite, first {first}; try --dtype float32 or a larger rank there."


def _first_bad_layer(module: nn.Module, batch: torch.Tensor) -> str:
    """Say where numbers are not finite first."""
    found: list[str] = []

    def look(name: str, output: object) -> None:
        if not found and isinstance(output, torch.Tensor) and not torch.isfinite(output).all():
            found.append(name)

    hooks = [
        part.register_forward_hook(lambda _, __, output, name=name: look(name, output))
        for name, part in module.named_modules()
        if name
    ]
    module(input_ids=batch, use_cache=False)
    for hook in hooks:
        hook.remove()
    return f"in the output of {found[0]}" if found else "in the loss"
