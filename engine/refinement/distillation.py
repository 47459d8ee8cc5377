"""Train all factors of a compressed model together, so that it predicts what the dense model predicts.

References:
    Hinton et al., arXiv:1503.02531 (distillation). AA-SVD, arXiv:2604.02119, trains layer by layer against the dense
    layers' outputs instead; here that helped little, because the error of a layer is no proxy for the loss
    (docs/benchmarks.md).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.errors import NumericalError
from engine.model.module import autocast, device_of
from engine.refinement.divergence import divergence
from engine.refinement.trainable import factors_in_training

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from engine.progress import Report
    from engine.specs import TrainingSpec

_BETAS = (0.9, 0.95)
_WARM_UP_STEPS = 10
N_CHECKS = 8
"""Times that held-out text is looked at, evenly over a training."""

_PATIENCE = 3
"""Checks in a row that may find nothing better before training ends."""

_SLOWER = 4.0
"""What the rate is divided by where a check finds nothing better."""

Tensors = list[torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Where training stands at a check.

    Attributes:
        steps: taken.
        seconds: they took.
        values: of every factor, those with the lowest divergence on held-out text so far, from which training goes on.
        moments: Adam's first and second, of every factor; none before the first step.
        divergences: on held-out text, at the start and at every check, in nats per token.
    """

    steps: int
    seconds: float
    values: Tensors
    moments: tuple[Tensors, Tensors]
    divergences: tuple[float, ...]

    @property
    def n_checks(self) -> int:
        """Checks so far."""
        return len(self.divergences) - 1

    @property
    def n_in_vain(self) -> int:
        """Checks that found nothing better than there was."""
        return sum(not found < min(self.divergences[:check]) for check, found in enumerate(self.divergences) if check)

    @property
    def is_over(self) -> bool:
        """Whether the last checks found nothing better."""
        return self.n_checks - self.divergences.index(min(self.divergences)) >= _PATIENCE


class Distillation:
    """Training of the factors of one compressed model.

    Args:
        dense: what it was made from; not changed.
        compressed: a model with factored or narrowed projections, in float32; trained in place.
        tokens: (n_sequences, length) text to train on.
        held_out: (n, length) text that says when training no longer helps.
        spec: passes over the text, rate, order, time.
        batch_size: sequences per step.
        compute_dtype: autocast type of passes.
    """

    def __init__(
        self,
        dense: nn.Module,
        compressed: nn.Module,
        tokens: torch.Tensor,
        held_out: torch.Tensor,
        spec: TrainingSpec,
        *,
        batch_size: int,
        compute_dtype: str,
    ) -> None:
        self._dense, self._compressed = dense, compressed
        device = device_of(dense)
        self._batches = tokens.to(device).split(batch_size)
        self._held_out = held_out.to(device).split(batch_size)
        self._spec = spec
        self._dtype = getattr(torch, compute_dtype)
        self.n_steps = spec.epochs * len(self._batches)

    def run(
        self, report: Report, *, start: Checkpoint | None = None, save: Callable[[Checkpoint], None] = lambda _: None
    ) -> Checkpoint:
        """Train until the text or the minutes are over or held-out text gains no more; keep the best factors.

        The learning rate rises over a few steps and falls to 0 by a cosine, over the steps or over the minutes,
        whichever end first. Where held-out text gained nothing, training goes back to the best factors and on at a
        quarter of the rate: the nearer the model is to the dense one, the lower the rate that still betters it.

        Args:
            report: told after every step.
            start: where an earlier run from the same factors stood.
            save: given a checkpoint at every check.

        Raises:
            NumericalError: the divergence is not finite.
        """
        with factors_in_training(self._compressed) as factors:
            optimiser = torch.optim.Adam(factors, self._spec.learning_rate, betas=_BETAS)
            at = self._begin(factors) if start is None else start
            if start is not None:
                _restore(start, factors, optimiser)
            steps, began = at.steps, time.monotonic() - at.seconds
            done = self._done(steps, at.seconds)
            while done < 1 and not at.is_over:
                loss = self._step(steps, self._rate(at, steps, done), optimiser)
                steps, seconds, before = steps + 1, time.monotonic() - began, done
                done = self._done(steps, seconds)
                if int(N_CHECKS * done) > int(N_CHECKS * before):
                    at = self._check(at, steps, seconds, factors, optimiser)
                    save(at)
                report("training", done, f"Training: step {steps} of {self.n_steps}, divergence {loss:.3f}")
            _set(factors, at.values)
        return at

    def _begin(self, factors: list[nn.Parameter]) -> Checkpoint:
        values = [factor.detach().clone() for factor in factors]
        return Checkpoint(0, 0.0, values, ([], []), (self._held_out_divergence(),))

    def _done(self, steps: int, seconds: float) -> float:
        return min(1.0, max(steps / self.n_steps, seconds / (60 * self._spec.minutes)))

    def _rate(self, at: Checkpoint, step: int, done: float) -> float:
        warm = min(1.0, (step + 1) / _WARM_UP_STEPS)
        return self._spec.learning_rate * warm * (1 + math.cos(math.pi * done)) / 2 / _SLOWER**at.n_in_vain

    def _step(self, step: int, rate: float, optimiser: torch.optim.Adam) -> float:
        epoch, place = divmod(step, len(self._batches))
        order = torch.randperm(len(self._batches), generator=torch.Generator().manual_seed(self._spec.seed + epoch))
        optimiser.param_groups[0]["lr"] = rate
        loss = self._divergence(self._batches[int(order[place])])
        if not torch.isfinite(loss):
            raise NumericalError(
                f"The divergence from the dense model became {loss.item()} in training; use a lower learning "
                f"rate than {self._spec.learning_rate:g} or the compute dtype float32."
            )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    def _check(
        self,
        last: Checkpoint,
        steps: int,
        seconds: float,
        factors: list[nn.Parameter],
        optimiser: torch.optim.Adam,
    ) -> Checkpoint:
        found = self._held_out_divergence()
        is_better = found < min(last.divergences)
        values = [factor.detach().clone() for factor in factors] if is_better else last.values
        first, second = ([optimiser.state[f][which].clone() for f in factors] for which in ("exp_avg", "exp_avg_sq"))
        if not is_better:
            first = [torch.zeros_like(moment) for moment in first]
        at = Checkpoint(steps, seconds, values, (first, second), (*last.divergences, found))
        if not is_better:
            _restore(at, factors, optimiser)
        return at

    @torch.no_grad()
    def _held_out_divergence(self) -> float:
        total = sum(self._divergence(batch).item() * len(batch) for batch in self._held_out)
        return total / sum(map(len, self._held_out))

    def _divergence(self, batch: torch.Tensor) -> torch.Tensor:
        with autocast(batch.device, self._dtype):
            with torch.no_grad():
                wanted = self._dense(input_ids=batch, use_cache=False).logits
            given = self._compressed(input_ids=batch, use_cache=False).logits
        return divergence(given, wanted)


@torch.no_grad()
def _set(factors: list[nn.Parameter], values: Tensors) -> None:
    for factor, value in zip(factors, values, strict=True):
        factor.copy_(value)


def _restore(start: Checkpoint, factors: list[nn.Parameter], optimiser: torch.optim.Adam) -> None:
    _set(factors, start.values)
    for factor, first, second in zip(factors, *start.moments, strict=True):
        optimiser.state[factor] = {
            "step": torch.tensor(float(start.steps)),
            "exp_avg": first.to(factor, copy=True),
            "exp_avg_sq": second.to(factor, copy=True),
        }
