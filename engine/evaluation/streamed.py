"""The head of a model that runs one decoder layer after the other over the whole text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.model.head import Head
from engine.model.module import autocast, device_of
from engine.model.stepping import LayerSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import nn

    from engine.progress import Report


@dataclass(frozen=True, slots=True)
class Start:
    """Where a run can begin that is like another up to a layer.

    Attributes:
        layer: the first that runs.
        steps: of the other run.
        states: of every batch, what the layer before returned.
    """

    layer: int
    steps: LayerSteps
    states: Sequence[list[torch.Tensor]]


class LayerByLayer:
    """A model whose layers are in memory, or wanted, one at a time.

    Args:
        module: the model; its decoder layers may be in their files.
        layer_in_memory: layer -> the context in which it is as it shall run.
        start: where it begins, on the text that the other run has read; ``None`` for the first layer.
        keep: layers that other runs will begin with.

    Attributes:
        starts: those of the layers to keep that were reached.
    """

    def __init__(
        self,
        module: nn.Module,
        layer_in_memory: Callable[[int], AbstractContextManager[None]],
        *,
        start: Start | None = None,
        keep: Collection[int] = (),
    ) -> None:
        self.module = module
        self.starts: dict[int, Start] = {}
        self._layer_in_memory = layer_in_memory
        self._start = start
        self._keep = keep

    @torch.no_grad()
    def heads(
        self, batches: Sequence[torch.Tensor], report: Report, stage: str, autocast_to: torch.dtype = torch.float32
    ) -> Iterator[Head]:
        """Yield the head of every batch (n_sequences, length) of token ids, after all layers.

        What layers return is kept in memory for the whole text: width numbers for a token.

        Raises:
            UnstreamableError: the model's layers cannot be run one at a time.
        """
        start, device = self._start, device_of(self.module)
        steps = LayerSteps(self.module, None if start is None else start.steps)
        states: list[list[torch.Tensor]] = [[] for _ in batches] if start is None else list(start.states)
        for layer in range(0 if start is None else start.layer, steps.n_layers):
            if layer in self._keep:
                self.starts[layer] = Start(layer, steps, tuple(states))
            with self._layer_in_memory(layer):
                for index, batch in enumerate(batches):
                    before = [tensor.to(device) for tensor in states[index]]
                    with autocast(device, autocast_to):
                        states[index] = [tensor.cpu() for tensor in steps.run(layer, batch.to(device), before)]
            done = (layer + 1) / (steps.n_layers + 1)
            report(stage, done, f"{stage.capitalize()}: layer {layer + 1} of {steps.n_layers}")
        for index, batch in enumerate(batches):
            with steps.after_last([tensor.to(device) for tensor in states[index]]):
                head = Head(self.module, batch.to(device), autocast_to)
            states[index] = []
            yield head
