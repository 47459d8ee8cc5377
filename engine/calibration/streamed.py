"""The same moments as those of a pass over the whole model, with one decoder layer in memory at a time.

Forward, layer by layer over all sequences, keeping what every layer returns. Then the head and the loss, and backward
from the top: each layer runs again from what the layer before it returned, with the kept gradient of its own output.
Batches come in the same order, so the sums are the same to the last bit.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch

from engine.calibration.passes import (
    Hooks,
    gradients_at_head,
    only_these_require_grad,
    require_finite,
    require_grad_of_hidden,
)
from engine.calibration.statistics import LayerStatistics, LayerSums
from engine.model.module import autocast, decoder_layers, device_of, dtype_of
from engine.model.stacks import stacks_as_modules
from engine.model.stepping import LayerSteps
from engine.progress import part_of
from engine.specs import CalibrationSpec, Fisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

    from engine.calibration.boundaries import Boundaries
    from engine.progress import Report
    from engine.types import Inventory

_FORWARD_SHARE = 0.25
"""Of the time; each layer runs forward once there, and forward and backward again."""


def boundary_bytes(module: nn.Module, tokens: torch.Tensor) -> int:
    """Return about what all layers return for all tokens, and the gradients by it, where a layer returns one state."""
    width = module.get_input_embeddings().weight.shape[1]  # type: ignore[operator]
    states: int = (len(decoder_layers(module)) + 1) * tokens.numel() * width * dtype_of(module).itemsize
    return states


class StreamedPass:
    """One pass over the text, layer by layer.

    Args:
        module: the dense model, in evaluation mode.
        holding: layer -> the context in which its weights are in memory.
        inventory: of the model.
        tokens: (n_sequences, length) token ids.
        spec: labels, batch size, autocast type, seed.
        boundaries: keeps what layers return, and the gradients by it.
        n_start: of every sequence's tokens are the tokenizer's own beginning.
    """

    def __init__(
        self,
        module: nn.Module,
        holding: Callable[[int], contextlib.AbstractContextManager[None]],
        inventory: Inventory,
        tokens: torch.Tensor,
        spec: CalibrationSpec,
        boundaries: Boundaries,
        *,
        n_start: int = 0,
    ) -> None:
        self._module = module
        self._holding = holding
        self._inventory = inventory
        self._tokens = tokens
        self._spec = spec
        self._dtype = getattr(torch, spec.compute_dtype)
        self._boundaries = boundaries
        self._n_start = n_start
        self._steps = LayerSteps(module)
        self._device = device_of(module)
        self._starts = range(0, len(tokens), spec.batch_size)
        self._streams = ("moments", "importances") if spec.fisher is not Fisher.EMPIRICAL else ("both",)

    def statistics(self, layers: Sequence[int], report: Report) -> Iterator[tuple[LayerStatistics, float]]:
        """Yield the statistics of ``layers`` from the top down, each with the mean NLL in nats per token.

        Raises:
            NumericalError: the loss or a moment is not finite; the message names the projection.
            UnstreamableError: a layer needs more than the layer before it returns.
        """
        self._forward(part_of(report, 0.0, _FORWARD_SHARE))
        nll, n_scored = self._head(), self._tokens[:, 1:].numel()
        downward = part_of(report, _FORWARD_SHARE, 1.0)
        wanted = set(layers)
        n_steps = self._steps.n_layers - min(layers)
        for done, layer in enumerate(range(self._steps.n_layers - 1, min(layers) - 1, -1)):
            if layer in wanted:
                # Under no name, so that nothing of it is left when the next layer begins.
                yield self._backward(layer, collects=True).average(self._tokens.numel(), n_scored), nll / n_scored
            else:
                self._backward(layer, collects=False)
            downward("calibration", (done + 1) / n_steps, f"Calibration: backward through layer {layer}")

    def _batch(self, start: int) -> torch.Tensor:
        return self._tokens[start : start + self._spec.batch_size].to(self._device)

    def _before(self, layer: int, start: int) -> list[torch.Tensor]:
        if layer == 0:
            return []
        return [t for t in self._boundaries.get(("output", layer - 1, start), self._device) if t is not None]

    @torch.no_grad()
    def _forward(self, report: Report) -> None:
        for layer in range(self._steps.n_layers):
            with self._holding(layer):
                for start in self._starts:
                    with autocast(self._device, self._dtype):
                        outputs = self._steps.run(layer, self._batch(start), self._before(layer, start))
                    self._boundaries.put(("output", layer, start), outputs)
            report(
                "calibration",
                (layer + 1) / self._steps.n_layers,
                f"Calibration: forward through layer {layer} of {self._steps.n_layers}",
            )

    def _head(self) -> float:
        """Run what follows the last layer; keep the gradients by its outputs and return the summed NLL."""
        last = self._steps.n_layers
        total = 0.0
        with only_these_require_grad(self._module, (), {}):
            for start in self._starts:
                batch = self._batch(start)
                leaves = _leaves(self._before(last, start))
                with self._steps.after_last(leaves):
                    states, gradients, nll = gradients_at_head(self._module, batch, self._spec, self._spec.seed + start)
                require_finite(nll, start, len(batch))
                for stream, gradient in zip(self._streams, gradients, strict=True):
                    states.backward(gradient, retain_graph=stream is not self._streams[-1])
                    self._boundaries.put((stream, last - 1, start), _taken(leaves))
                total += nll
        return total

    def _backward(self, layer: int, *, collects: bool) -> LayerSums:
        """Run one layer again with gradients; keep those by its input."""
        sums = LayerSums(layer, len(self._tokens), self._n_start, self._inventory.downs)
        groups = [group for group in self._inventory.groups if group.layer == layer and collects]
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._holding(layer))
            stack.enter_context(stacks_as_modules(self._module, [g.name for g in groups if g.is_stack]))
            modules = dict(self._module.named_modules())
            stack.enter_context(only_these_require_grad(self._module, groups, modules))
            if layer == 0:
                first = decoder_layers(self._module)[0]
                stack.callback(first.register_forward_pre_hook(require_grad_of_hidden, with_kwargs=True).remove)
            hooks = Hooks(modules, groups, {layer: sums}, stack)
            for start in self._starts:
                batch = self._batch(start)
                hooks.begin_batch(start, batch.shape)
                leaves = _leaves(self._before(layer, start))
                with autocast(self._device, self._dtype):
                    outputs = self._steps.run(layer, batch, leaves)
                for stream in self._streams:
                    place = (stream, layer, start)
                    gradients = self._boundaries.get(place, self._device)
                    known = [(o, g) for o, g in zip(outputs, gradients, strict=True) if g is not None]
                    hooks.backward(
                        [output for output, _ in known],
                        [gradient for _, gradient in known],
                        is_first=stream is self._streams[0],
                        is_last=stream is self._streams[-1],
                    )
                    self._boundaries.drop(place)
                    if layer > 0:
                        self._boundaries.put((stream, layer - 1, start), _taken(leaves))
                self._boundaries.drop(("output", layer, start))
        return sums


def _leaves(tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return tensors whose gradients are wanted, where they can have any."""
    return [tensor.requires_grad_(tensor.is_floating_point()) for tensor in tensors]


def _taken(leaves: Sequence[torch.Tensor]) -> list[torch.Tensor | None]:
    """Return the gradients of leaves, which have none afterwards."""
    gradients = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return gradients
