"""Decoder layers that stay in a model's files until they run, so that a model may be larger than the memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from torch import nn

from engine.model.module import decoder_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch


class LayerWeights:
    """The weights of a model's decoder layers, read whenever a layer runs and dropped after it.

    Outside of a run, and of :meth:`held`, they are on the meta device.

    Args:
        module: as transformers opens it with every decoder layer offloaded to disk.
        device: where layers run.
    """

    def __init__(self, module: nn.Module, device: torch.device) -> None:
        from accelerate.hooks import remove_hook_from_module

        self.bytes_read = 0
        self._device = device
        self._layers = list(decoder_layers(module))
        self._parameters = [_offloaded(layer) for layer in self._layers]
        self._holders = [0] * len(self._layers)
        remove_hook_from_module(module, recurse=True)
        for index, layer in enumerate(self._layers):
            layer.forward = self._reading(index, layer.forward)

    @contextlib.contextmanager
    def held(self, index: int) -> Iterator[None]:
        """Keep the weights of one layer in memory meanwhile."""
        if self._holders[index] == 0:
            for parameter in self._parameters[index]:
                weight = parameter.read().to(self._device)
                self.bytes_read += weight.nbytes
                parameter.put(nn.Parameter(weight, requires_grad=False))
        self._holders[index] += 1
        try:
            yield
        finally:
            self._holders[index] -= 1
            if self._holders[index] == 0:
                for parameter in self._parameters[index]:
                    parameter.put(parameter.on_meta)

    def _reading(self, index: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **keywords: Any) -> Any:
            with self.held(index):
                return forward(*args, **keywords)

        return run


class _Offloaded:
    """One parameter of a module, on the meta device, and where its numbers are read."""

    def __init__(self, module: nn.Module, name: str, weights: Any) -> None:
        self._module = module
        self._name = name
        self._weights = weights
        self.on_meta: nn.Parameter = getattr(module, name)

    def read(self) -> torch.Tensor:
        weight: torch.Tensor = self._weights[self._name]
        return weight.to(self.on_meta.dtype)

    def put(self, parameter: nn.Parameter) -> None:
        setattr(self._module, self._name, parameter)


def _offloaded(layer: nn.Module) -> list[_Offloaded]:
    """Return the parameters of a layer that the library left in files."""
    found = []
    for module in layer.modules():
        hook: Any = getattr(module, "_hf_hook", None)
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.is_meta:
                found.append(_Offloaded(module, name, hook.weights_map))
    return found


def device_map(skeleton: nn.Module, device: str) -> dict[str, str]:
    """Return what transformers is asked for: every decoder layer on disk, all else on ``device``."""
    layers = decoder_layers(skeleton)
    where = dict.fromkeys(_around(skeleton, layers), device)
    name = name_of_layers(skeleton)
    return {**where, **{f"{name}.{index}": "disk" for index in range(len(layers))}}


def name_of_layers(module: nn.Module) -> str:
    """Return what the list of decoder layers is called in a model."""
    layers = decoder_layers(module)
    name: str = next(name for name, part in module.named_modules() if part is layers)
    return name


def _around(module: nn.Module, layers: nn.ModuleList, prefix: str = "") -> Iterator[str]:
    """Yield names of modules and tensors that together are everything but ``layers``."""
    for name, child in module.named_children():
        if child is layers:
            continue
        if any(one is layers for one in child.modules()):
            yield from _around(child, layers, f"{prefix}{name}.")
        else:
            yield prefix + name
    stored = {*dict(module.named_parameters(recurse=False)), *dict(module.named_buffers(recurse=False))}
    for name in sorted(stored - module._non_persistent_buffers_set):
        yield prefix + name
