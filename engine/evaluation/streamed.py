"""The head of a model that does not fit into memory: one decoder layer after the other over the whole text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.model.head import Head
from engine.model.module import device_of
from engine.model.stepping import LayerSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from engine.progress import Report


class LayerByLayer:
    """A model whose layers are in memory one at a time.

    Args:
        module: the model, its decoder layers in their files.
        layer_in_memory: layer -> the context in which it is as it shall run.
    """

    def __init__(self, module: nn.Module, layer_in_memory: Callable[[int], AbstractContextManager[None]]) -> None:
        self.module = module
        self._layer_in_memory = layer_in_memory

    @torch.no_grad()
    def heads(self, batches: Sequence[torch.Tensor], report: Report, stage: str) -> Iterator[Head]:
        """Yield the head of every batch (n_sequences, length) of token ids, after all layers.

        What layers return is kept in memory for the whole text: width numbers for a token.

        Raises:
            UnstreamableError: the model's layers cannot be run one at a time.
        """
        steps, device = LayerSteps(self.module), device_of(self.module)
        states: list[list[torch.Tensor]] = [[] for _ in batches]
        for layer in range(steps.n_layers):
            with self._layer_in_memory(layer):
                for index, batch in enumerate(batches):
                    before = [tensor.to(device) for tensor in states[index]]
                    states[index] = [tensor.cpu() for tensor in steps.run(layer, batch.to(device), before)]
            done = (layer + 1) / (steps.n_layers + 1)
            report(stage, done, f"{stage.capitalize()}: layer {layer + 1} of {steps.n_layers}")
        for index, batch in enumerate(batches):
            with steps.after_last([tensor.to(device) for tensor in states[index]]):
                head = Head(self.module, batch.to(device))
            states[index] = []
            yield head
