"""Run a model's decoder layers one after another, keeping only the hidden states between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from engine.model import decoder_layers, device_of

if TYPE_CHECKING:
    from collections.abc import Sequence

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

    hook = first.register_forward_pre_hook(stop, with_kwargs=True)
    try:
        module(input_ids=batch, use_cache=False)
    except _ReachedError:
        pass
    finally:
        hook.remove()
    return found[0]


def run_layer(layer: nn.Module, hidden: torch.Tensor, calls: dict[int, LayerCall], dtype: torch.dtype) -> torch.Tensor:
    """Return the layer's output (n, length, hidden) in float32, computed under autocast to ``dtype``."""
    call = calls[len(hidden)]
    weights = next(layer.parameters()).dtype
    with torch.autocast(hidden.device.type, dtype=dtype, enabled=dtype is not torch.float32):
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
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Run a layer until the last of ``modules`` has run; return the inputs and outputs of all of them in float32."""
    seen: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def look(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen[module] = inputs[0].float(), output.float()
        if len(seen) == len(modules):
            raise _ReachedError

    hooks = [module.register_forward_hook(look) for module in modules]
    try:
        run_layer(layer, hidden, calls, dtype)
    except _ReachedError:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return [seen[module] for module in modules]


def advance(
    layer: nn.Module, hidden: Sequence[torch.Tensor], calls: dict[int, LayerCall], dtype: torch.dtype
) -> list[torch.Tensor]:
    """Send every batch through a layer."""
    with torch.no_grad():
        return [run_layer(layer, batch, calls, dtype) for batch in hidden]
