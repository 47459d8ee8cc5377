"""Passes over the calibration text that leave second moments and FLRC importances behind.

References:
    K-FAC: Martens & Grosse 2015, arXiv:1503.05671 (Kronecker factors of the Fisher matrix).
    FLRC: Lu et al., EMNLP 2025, arXiv:2510.09332 (importance from one backward pass).
    Gauss-Newton: Schraudolph 2002, "Fast curvature matrix-vector products"; Martens 2020, arXiv:1412.1193.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from engine.calibration.sides import is_wide, statistics_bytes
from engine.calibration.stacks import watch_stack
from engine.calibration.statistics import LayerStatistics, LayerSums
from engine.errors import NumericalError, ResourceError
from engine.model.head import Head
from engine.model.module import decoder_layers, device_of
from engine.model.stacks import stacks_as_modules
from engine.specs import CalibrationSpec, Fisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn
    from torch.utils.hooks import RemovableHandle

    from engine.progress import Report
    from engine.types import InputGroup, Inventory, Projection


def plan_passes(inventory: Inventory, layers: Sequence[int], n_sequences: int, memory_bytes: int) -> list[list[int]]:
    """Split ``layers`` into runs whose moments fit ``memory_bytes``; each run is one pass over the text.

    The runs go from the top of the model down, because a backward pass ends at the lowest layer it
    collects for.

    Raises:
        ResourceError: one layer alone does not fit.
    """
    passes: list[list[int]] = []
    room = 0
    for layer in sorted(layers, reverse=True):
        need = layer_bytes(inventory, [layer], n_sequences)
        if need > memory_bytes:
            raise ResourceError(
                f"The statistics of layer {layer} take {need / 1e6:.3g} MB but the memory limit is "
                f"{memory_bytes / 1e6:.3g} MB; raise --memory-gb to at least {1.005 * need / 1e9:.3g}."
            )
        if need > room:
            passes.append([])
            room = memory_bytes
        passes[-1].append(layer)
        room -= need
    return [sorted(run) for run in passes]


def layer_bytes(inventory: Inventory, layers: Sequence[int], n_sequences: int) -> int:
    """Return the bytes that the moments of ``layers`` take while they are collected together."""
    return statistics_bytes([g for g in inventory.groups if g.layer in layers], n_sequences, inventory.downs)


def collect_statistics(
    module: nn.Module,
    inventory: Inventory,
    tokens: torch.Tensor,
    spec: CalibrationSpec,
    layers: Sequence[int],
    report: Report,
    *,
    n_start: int = 0,
) -> tuple[dict[int, LayerStatistics], float]:
    """Run one pass over the text and return the statistics of ``layers``.

    Args:
        module: the dense model, in evaluation mode.
        inventory: of that model.
        tokens: (n_sequences, length) token ids.
        spec: labels, batch size, autocast type, seed.
        layers: indices of the decoder layers to collect for.
        report: told after every batch.
        n_start: of every sequence's tokens are the tokenizer's own beginning.

    Returns:
        Statistics by layer, and the model's mean negative log-likelihood on the text in nats per token.

    Raises:
        NumericalError: the loss or a moment is not finite; the message names the projection.
    """
    groups = [group for group in inventory.groups if group.layer in set(layers)]
    sums = {layer: LayerSums(layer, len(tokens), n_start, inventory.downs) for layer in sorted(layers)}
    device = device_of(module)
    lowest = decoder_layers(module)[min(layers)]
    total_nll = 0.0
    with contextlib.ExitStack() as stack:
        stack.enter_context(stacks_as_modules(module, [g.name for g in groups if g.is_stack]))
        modules = dict(module.named_modules())
        stack.enter_context(only_these_require_grad(module, groups, modules))
        stack.callback(lowest.register_forward_pre_hook(require_grad_of_hidden, with_kwargs=True).remove)
        hooks = Hooks(modules, groups, sums, stack)
        for start in range(0, len(tokens), spec.batch_size):
            batch = tokens[start : start + spec.batch_size].to(device)
            hooks.begin_batch(start, batch.shape)
            states, gradients, nll = gradients_at_head(module, batch, spec, seed=spec.seed + start)
            require_finite(nll, start, len(batch))
            for index, gradient in enumerate(gradients):
                hooks.backward([states], [gradient], is_first=index == 0, is_last=index + 1 == len(gradients))
            total_nll += nll
            done = min(start + spec.batch_size, len(tokens))
            report("calibration", done / len(tokens), f"Calibration: {done} of {len(tokens)} sequences")
    n_scored = len(tokens) * (tokens.shape[1] - 1)
    statistics = {layer: of_layer.average(tokens.numel(), n_scored) for layer, of_layer in sums.items()}
    return statistics, total_nll / n_scored


def require_finite(nll: float, start: int, n_sequences: int) -> None:
    """Check the loss on consecutive sequences.

    Raises:
        NumericalError: it is not finite.
    """
    if not math.isfinite(nll):
        raise NumericalError(
            f"The loss on calibration sequences {start}..{start + n_sequences - 1} is {nll}; "
            "expected a finite number, try --compute-dtype float32."
        )


def gradients_at_head(
    module: nn.Module, batch: torch.Tensor, spec: CalibrationSpec, seed: int
) -> tuple[torch.Tensor, list[torch.Tensor], float]:
    """Run a batch up to the model's head, and the head and back a few tokens at a time.

    Returns:
        What the head reads, the gradients by it of :func:`losses_of`, and the summed NLL of the true tokens.
    """
    head = Head(module, batch, getattr(torch, spec.compute_dtype))
    states = head.states.detach().requires_grad_()
    generator = torch.Generator(states.device).manual_seed(seed)
    sums: list[torch.Tensor] = []
    total = 0.0
    with head.cast_once():
        for labels, logits in head.turns(states):
            losses = losses_of(logits.float(), labels, spec, generator)
            found = [torch.autograd.grad(loss, states, retain_graph=loss is not losses[-1])[0] for loss in losses]
            sums = [known.add_(part) for known, part in zip(sums, found, strict=True)] if sums else found
            total += losses[-1].item()
    return head.states, sums, total


def losses_of(
    logits: torch.Tensor, labels: torch.Tensor, spec: CalibrationSpec, generator: torch.Generator
) -> list[torch.Tensor]:
    """Return the loss that moments are of, where it is another, and the summed NLL of the true tokens.

    Args:
        logits: (n, vocabulary) float32.
        labels: (n,), the tokens that follow.
        spec: what gradients are taken of.
        generator: of drawn labels and signs.
    """
    nll = functional.cross_entropy(logits, labels, reduction="sum")
    if spec.fisher is Fisher.EMPIRICAL:
        return [nll]
    probabilities = logits.detach().softmax(-1)
    if spec.fisher is Fisher.GGN:
        return [(logits * gauss_newton_seeds(probabilities, generator)).sum(), nll]
    drawn = torch.multinomial(probabilities, 1, generator=generator)[:, 0]
    return [functional.cross_entropy(logits, drawn, reduction="sum"), nll]


def gauss_newton_seeds(probabilities: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return random v with E[v v^T] = diag(p) - p p^T, the second derivative of cross-entropy by the logits.

    With random signs e, v = sqrt(p) * e - p (sqrt(p) . e).

    Args:
        probabilities: (..., vocabulary), p.
        generator: of the signs.
    """
    roots = probabilities.sqrt()
    signs = torch.randint(0, 2, roots.shape, generator=generator, device=roots.device, dtype=torch.int8)
    signed = roots * (2 * signs - 1)
    return signed - probabilities * signed.sum(-1, keepdim=True)


@contextlib.contextmanager
def only_these_require_grad(
    module: nn.Module, groups: Sequence[InputGroup], modules: dict[str, nn.Module]
) -> Iterator[None]:
    """Let gradients reach the weights of the collected projections and no other parameter."""
    before = {p: p.requires_grad for p in module.parameters()}
    wanted = {id(modules[p.name].weight) for group in groups for p in group.members}
    for parameter in before:
        parameter.requires_grad_(id(parameter) in wanted)
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
            parameter.grad = None


def require_grad_of_hidden(_: nn.Module, inputs: tuple[object, ...], keywords: dict[str, object]) -> None:
    """Start the graph at the input of the lowest collected layer, so that its projections see gradients."""
    hidden = inputs[0] if inputs else keywords["hidden_states"]
    if isinstance(hidden, torch.Tensor) and not hidden.requires_grad:
        hidden.requires_grad_(True)


class Hooks:
    """Forward what a pass computes to the sums of its layers, from registration until ``stack`` closes.

    Args:
        modules: of the model, by name.
        groups: whose projections are watched.
        sums: by layer.
        stack: removes the hooks.
    """

    def __init__(
        self,
        modules: dict[str, nn.Module],
        groups: Sequence[InputGroup],
        sums: dict[int, LayerSums],
        stack: contextlib.ExitStack,
    ) -> None:
        self._sums = sums
        self._sequences = slice(0)
        self._length = 0
        self._moments = self._importances = False
        for group in groups:
            first = modules[group.members[0].name]
            if group.is_stack:
                stack.enter_context(self._watched_stack(first, group.members[0]))
                continue
            stack.callback(first.register_forward_hook(self._forward_hook(group)).remove)
            for projection in group.members:
                linear = modules[projection.name]
                if is_wide(projection):
                    stack.callback(linear.register_forward_hook(self._output_hook(projection)).remove)
                else:
                    stack.callback(linear.register_forward_pre_hook(self._input_hook(projection)).remove)
                stack.callback(self._watched_weight(linear, projection).remove)

    def begin_batch(self, start: int, shape: torch.Size) -> None:
        """Note which sequences the next forward pass runs: from ``start`` on, as many and as long as ``shape`` says."""
        self._sequences = slice(start, start + shape[0])
        self._length = shape[1]

    def backward(
        self, roots: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor], *, is_first: bool, is_last: bool
    ) -> None:
        """Run the backward pass of one of a batch's losses: the first feeds moments, the last importances.

        Args:
            roots: where it begins.
            gradients: of the loss by each of them.
            is_first: of the losses.
            is_last: of the losses.
        """
        self._moments, self._importances = is_first, is_last
        torch.autograd.backward(roots, gradients, retain_graph=not is_last)

    def _watched_stack(self, module: nn.Module, projection: Projection) -> contextlib.ExitStack:
        sums = self._sums[projection.layer].of_stack(projection)
        watched = watch_stack(module, sums, lambda: self._length, lambda: self._moments)
        watched.callback(self._watched_weight(module, projection).remove)
        return watched

    def _watched_weight(self, linear: nn.Module, projection: Projection) -> RemovableHandle:
        weight: torch.Tensor = linear.weight  # type: ignore[assignment]
        hook: RemovableHandle = weight.register_post_accumulate_grad_hook(self._importance_hook(projection))
        return hook

    def _forward_hook(self, group: InputGroup) -> Callable[..., None]:
        sums = self._sums[group.layer]

        def take(linear: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
                sums.add_input(group, inputs[0], self._sequences)
                sums.add_output(group, output, getattr(linear, "bias", None))

        return take

    def _output_hook(self, projection: Projection) -> Callable[..., None]:
        def watch(_: nn.Module, __: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            # A hook of the tensor, not of the module: some models add to a projection's output in place.
            output.register_hook(self._gradient_hook(projection))

        return watch

    def _input_hook(self, projection: Projection) -> Callable[..., tuple[torch.Tensor, ...]]:
        def watch(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            x, *others = inputs
            # A tensor of its own for every projection: several read the same input.
            own = x.view_as(x) if x.requires_grad else x.detach().requires_grad_()
            own.register_hook(self._gradient_hook(projection))
            return (own, *others)

        return watch

    def _gradient_hook(self, projection: Projection) -> Callable[[torch.Tensor], None]:
        sums = self._sums[projection.layer]

        def take(gradient: torch.Tensor) -> None:
            if self._moments:
                sums.add_gradient(projection, gradient, self._sequences)

        return take

    def _importance_hook(self, projection: Projection) -> Callable[[torch.Tensor], None]:
        sums = self._sums[projection.layer]

        def take(weight: torch.Tensor) -> None:
            gradient, weight.grad = weight.grad, None
            if gradient is not None and self._importances:
                sums.add_importance(projection, gradient, weight.detach())

        return take
