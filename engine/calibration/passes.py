"""Passes over the calibration text that leave second moments and FLRC importances behind.

References:
    K-FAC: Martens & Grosse 2015, arXiv:1503.05671 (Kronecker factors of the Fisher matrix).
    FLRC: Lu et al., EMNLP 2025, arXiv:2510.09332 (importance from one backward pass).
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from engine.calibration.statistics import LayerStatistics, is_wide, needs_input_moment, statistics_bytes
from engine.errors import NumericalError, ResourceError
from engine.model.module import decoder_layers, device_of
from engine.specs import CalibrationSpec, Fisher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import nn

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
                f"The statistics of layer {layer} take {need / 1e6:.0f} MB but the memory limit is "
                f"{memory_bytes / 1e6:.0f} MB; raise --memory-gb to at least {need / 1e9:.2f}."
            )
        if need > room:
            passes.append([])
            room = memory_bytes
        passes[-1].append(layer)
        room -= need
    return [sorted(run) for run in passes]


def layer_bytes(inventory: Inventory, layers: Sequence[int], n_sequences: int) -> int:
    """Return the bytes that the moments of ``layers`` take while they are collected together."""
    return statistics_bytes([g for g in inventory.groups if g.layer in layers], n_sequences)


def collect_statistics(
    module: nn.Module,
    inventory: Inventory,
    tokens: torch.Tensor,
    spec: CalibrationSpec,
    layers: Sequence[int],
    report: Report,
) -> tuple[dict[int, LayerStatistics], float]:
    """Run one pass over the text and return the statistics of ``layers``.

    Args:
        module: the dense model, in evaluation mode.
        inventory: of that model.
        tokens: (n_sequences, length) token ids.
        spec: labels, batch size, autocast type, seed.
        layers: indices of the decoder layers to collect for.
        report: told after every batch.

    Returns:
        Statistics by layer, and the model's mean negative log-likelihood on the text in nats per token.

    Raises:
        NumericalError: the loss or a moment is not finite; the message names the projection.
    """
    collectors = [_GroupCollector(g, len(tokens)) for g in inventory.groups if g.layer in set(layers)]
    modules = dict(module.named_modules())
    device = device_of(module)
    lowest = decoder_layers(module)[min(layers)]
    total_nll = 0.0
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_these_require_grad(module, collectors, modules))
        stack.callback(lowest.register_forward_pre_hook(_require_grad_of_hidden, with_kwargs=True).remove)
        for collector in collectors:
            collector.attach(modules, stack)
        for start in range(0, len(tokens), spec.batch_size):
            batch = tokens[start : start + spec.batch_size].to(device)
            for collector in collectors:
                collector.begin_batch(start, len(batch))
            nll, sampled = _losses(module, batch, spec, seed=spec.seed + start)
            if not torch.isfinite(nll):
                raise NumericalError(
                    f"The loss on calibration sequences {start}..{start + len(batch) - 1} is {nll.item()}; "
                    "expected a finite number, try --compute-dtype float32."
                )
            if sampled is not None:
                _backward(sampled, collectors, moments=True, importances=False, retain_graph=True)
            _backward(nll, collectors, moments=sampled is None, importances=True, retain_graph=False)
            total_nll += nll.item()
            done = min(start + spec.batch_size, len(tokens))
            report("calibration", done / len(tokens), f"Calibration: {done} of {len(tokens)} sequences")
    n_tokens = tokens.numel()
    statistics = {layer: LayerStatistics(layer, n_tokens) for layer in sorted(layers)}
    for collector in collectors:
        collector.finish(statistics[collector.group.layer], n_tokens)
    return statistics, total_nll / (len(tokens) * (tokens.shape[1] - 1))


def _losses(
    module: nn.Module, batch: torch.Tensor, spec: CalibrationSpec, seed: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the summed NLL of the true tokens and, for the sampled Fisher, that of drawn ones."""
    dtype = getattr(torch, spec.compute_dtype)
    with torch.autocast(batch.device.type, dtype=dtype, enabled=dtype is not torch.float32):
        logits = module(input_ids=batch, use_cache=False).logits
    flat = logits[:, :-1].float().flatten(0, 1)
    nll = functional.cross_entropy(flat, batch[:, 1:].flatten(), reduction="sum")
    if spec.fisher is Fisher.EMPIRICAL:
        return nll, None
    generator = torch.Generator(flat.device).manual_seed(seed)
    labels = torch.multinomial(flat.detach().softmax(-1), 1, generator=generator)[:, 0]
    return nll, functional.cross_entropy(flat, labels, reduction="sum")


def _backward(
    loss: torch.Tensor,
    collectors: Sequence[_GroupCollector],
    *,
    moments: bool,
    importances: bool,
    retain_graph: bool,
) -> None:
    for collector in collectors:
        collector.takes_moments = moments
        collector.takes_importances = importances
    loss.backward(retain_graph=retain_graph)


@contextlib.contextmanager
def _only_these_require_grad(
    module: nn.Module, collectors: Sequence[_GroupCollector], modules: dict[str, nn.Module]
) -> Iterator[None]:
    """Let gradients reach the weights of the collected projections and no other parameter."""
    before = {p: p.requires_grad for p in module.parameters()}
    wanted = {id(modules[p.name].weight) for c in collectors for p in c.group.members}
    for parameter in before:
        parameter.requires_grad_(id(parameter) in wanted)
    try:
        yield
    finally:
        for parameter, required in before.items():
            parameter.requires_grad_(required)
            parameter.grad = None


def _require_grad_of_hidden(_: nn.Module, inputs: tuple[object, ...], keywords: dict[str, object]) -> None:
    """Start the graph at the input of the lowest collected layer, so that its projections see gradients."""
    hidden = inputs[0] if inputs else keywords["hidden_states"]
    if isinstance(hidden, torch.Tensor) and not hidden.requires_grad:
        hidden.requires_grad_(True)


def _add_outer(total: torch.Tensor | None, rows: torch.Tensor) -> torch.Tensor:
    """Add rows^T rows to ``total``; rows is (n_tokens, width) in float32."""
    if total is None:
        return rows.T @ rows
    return total.addmm_(rows.T, rows)


class _GroupCollector:
    """Hooks of one input group and the sums they feed."""

    def __init__(self, group: InputGroup, n_sequences: int) -> None:
        self.group = group
        self.n_sequences = n_sequences
        self.takes_moments = True
        self.takes_importances = True
        self._input: torch.Tensor | None = None
        self._means: torch.Tensor | None = None
        self._outputs: dict[str, torch.Tensor] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        self._importances: dict[str, torch.Tensor] = {}
        self._rows = slice(0)

    def begin_batch(self, start: int, size: int) -> None:
        """Note which sequences the next forward pass runs."""
        self._rows = slice(start, start + size)

    def attach(self, modules: dict[str, nn.Module], stack: contextlib.ExitStack) -> None:
        """Register the hooks; they go when ``stack`` closes."""
        first = self.group.members[0]
        stack.callback(modules[first.name].register_forward_hook(self._take_input).remove)
        for projection in self.group.members:
            linear = modules[projection.name]
            stack.callback(linear.register_full_backward_hook(self._gradient_hook(projection)).remove)
            weight: torch.Tensor = linear.weight  # type: ignore[assignment]
            stack.callback(weight.register_post_accumulate_grad_hook(self._importance_hook(projection)).remove)

    def _take_input(self, linear: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
            x = inputs[0].detach().flatten(0, -2).float()
            if self._means is None:
                self._means = x.new_zeros(self.n_sequences, x.shape[1])
            self._means[self._rows] = x.view(self._rows.stop - self._rows.start, -1, x.shape[1]).mean(1)
            if needs_input_moment(self.group):
                self._input = _add_outer(self._input, x)
            else:
                name = self.group.members[0].name
                y = output.detach().flatten(0, -2).float()
                bias = getattr(linear, "bias", None)
                self._outputs[name] = _add_outer(self._outputs.get(name), y if bias is None else y - bias)

    def _gradient_hook(self, projection: Projection) -> Callable[..., None]:
        wide = is_wide(projection)

        def take(_: nn.Module, of_input: tuple[torch.Tensor, ...], of_output: tuple[torch.Tensor, ...]) -> None:
            if self.takes_moments:
                g = (of_output if wide else of_input)[0].detach().flatten(0, -2).float()
                self._gradients[projection.name] = _add_outer(self._gradients.get(projection.name), g)

        return take

    def _importance_hook(self, projection: Projection) -> Callable[[torch.Tensor], None]:
        def take(weight: torch.Tensor) -> None:
            gradient = weight.grad
            weight.grad = None
            if gradient is None or not self.takes_importances:
                return
            flat = gradient.flatten()
            fisher = flat.dot(flat)
            # The gradient is not needed any more, so the product takes its place.
            product = gradient.mul_(weight.detach()).flatten()
            sums = torch.stack([product.dot(product), product.sum().abs(), fisher])
            known = self._importances.get(projection.name)
            self._importances[projection.name] = sums.double() if known is None else known + sums

        return take

    def finish(self, statistics: LayerStatistics, n_tokens: int) -> None:
        """Hand the averaged moments over, checked."""
        name = self.group.name
        if self._means is not None:
            statistics.means[name] = self._means
        if self._input is not None:
            statistics.inputs[name] = self._input / n_tokens
        statistics.outputs.update({p: m / n_tokens for p, m in self._outputs.items()})
        statistics.gradients.update({p: m / n_tokens for p, m in self._gradients.items()})
        statistics.importances.update(self._importances)
        for what in (statistics.inputs, statistics.outputs, statistics.gradients, statistics.importances):
            for key, moment in what.items():
                if not torch.isfinite(moment).all():
                    raise NumericalError(
                        f"A second moment of {key} is not finite; expected finite activations and gradients, "
                        "try --compute-dtype float32."
                    )
