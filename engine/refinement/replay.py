"""Run a model's decoder layers one after another, keeping only the hidden states between them."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from engine.model.module import autocast, decoder_layers, device_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import nn


class _ReachedError(Exception):
    """A pass came to where it was wanted; the rest of it is not needed."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerCall:
    """What a decoder layer is given beside its hidden states: masks, positions and the like."""

    arguments: tuple[Any, ...]
    keywords: dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class LayerStream:
    """A text at the entrance of the first decoder layer, ready to be sent through the layers one by one.

    Attributes:
        hidden: per batch, (n, length, hidden) float32.
        calls: per layer, number of sequences in a batch -> what the layer is given with such a batch.
    """

    hidden: list[torch.Tensor]
    calls: list[dict[int, LayerCall]]


@torch.no_grad()
def open_stream(module: nn.Module, tokens: torch.Tensor, batch_size: int) -> LayerStream:
    """Embed ``tokens`` (n_sequences, length) and record how the model calls its layers.

    Every sequence has the same length and no padding, so a call depends on the size of the batch only.
    """
    layers = decoder_layers(module)
    batches = tokens.to(device_of(module)).split(batch_size)
    calls: list[dict[int, LayerCall]] = [{} for _ in layers]
    for size, batch in {len(batch): batch for batch in batches}.items():
        hooks = [
            layer.register_forward_pre_hook(_recorder(calls[index], size), with_kwargs=True)
            for index, layer in enumerate(layers)
        ]
        module(input_ids=batch, use_cache=False)
        for hook in hooks:
            hook.remove()
    return LayerStream([_embed(module, layers[0], batch) for batch in batches], calls)


def _recorder(calls: dict[int, LayerCall], size: int) -> Any:
    def record(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        rest = {name: value for name, value in keywords.items() if name != "hidden_states"}
        calls[size] = LayerCall(arguments[1:], rest)

    return record


def _embed(module: nn.Module, first: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    found: list[torch.Tensor] = []

    def stop(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        found.append((arguments[0] if arguments else keywords["hidden_states"]).float())
        raise _ReachedError

    with contextlib.ExitStack() as hooks:
        hooks.callback(first.register_forward_pre_hook(stop, with_kwargs=True).remove)
        with contextlib.suppress(_ReachedError):
            module(input_ids=batch, use_cache=False)
    return found[0]


def run_layer(layer: nn.Module, hidden: torch.Tensor, calls: dict[int, LayerCall], dtype: torch.dtype) -> torch.Tensor:
    """Return the layer's output (n, length, hidden) in float32, computed under autocast to ``dtype``."""
    call = calls[len(hidden)]
    weights = next(layer.parameters()).dtype
    with autocast(hidden.device, dtype):
        output = layer(hidden.to(weights), *call.arguments, **call.keywords)
    result: torch.Tensor = (output[0] if isinstance(output, tuple) else output).float()
    return result


@torch.no_grad()
def run_until(
    layer: nn.Module,
    modules: Sequence[nn.Module],
    hidden: torch.Tensor,
    calls: dict[int, LayerCall],
    dtype: torch.dtype,
    *,
    to_the_end: bool = False,
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor | None]:
    """Run a layer until the last of ``modules`` has run, or to its end.

    Returns:
        The modules' inputs and outputs in float32, and the layer's output if it was run to the end.
    """
    seen: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[module] = inputs[0].float(), output.float()
        if len(seen) == len(modules) and not to_the_end:
            raise _ReachedError

    out = None
    with contextlib.ExitStack() as hooks:
        for module in modules:
            hooks.callback(module.register_forward_hook(look).remove)
        with contextlib.suppress(_ReachedError):
            out = run_layer(layer, hidden, calls, dtype)
    return [seen[module] for module in modules], out


@torch.no_grad()
def advance(
    layer: nn.Module,
    hidden: Sequence[torch.Tensor],
    calls: dict[int, LayerCall],
    dtype: torch.dtype,
    watched: Mapping[str, nn.Module] | None = None,
) -> tuple[list[torch.Tensor], dict[str, list[torch.Tensor]]]:
    """Send every batch through a layer; return what leaves it, and per batch the outputs of ``watched`` modules.

    Outputs are kept in bfloat16: they serve as targets, whose errors are a hundred times what that rounds away.
    """
    outputs: dict[str, list[torch.Tensor]] = {name: [] for name in watched or {}}
    with contextlib.ExitStack() as hooks:
        for name, module in (watched or {}).items():

            def keep(_: nn.Module, __: object, output: torch.Tensor, name: str = name) -> None:
                outputs[name].append(output.to(torch.bfloat16))

            hooks.callback(module.register_forward_hook(keep).remove)
        return [run_layer(layer, batch, calls, dtype) for batch in hidden], outputs
