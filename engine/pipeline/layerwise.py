"""A dense model and its compressed forms, run one layer at a time where they do not fit into memory."""

from __future__ import annotations

import contextlib
import copy
from typing import TYPE_CHECKING

from engine.compression.apply import compressed_modules
from engine.evaluation.streamed import LayerByLayer
from engine.model.module import decoder_layers
from engine.model.stacks import stacks_as_modules

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from torch import nn

    from engine.evaluation.streamed import Start
    from engine.factorization.blocks import Factors
    from engine.factorization.neurons import Neurons
    from engine.model.opening import OpenModel
    from engine.types import BlockRank


def dense_by_layer(model: OpenModel, keep: Collection[int] = ()) -> LayerByLayer:
    """Return a dense model that reads its layers one at a time, and keeps where other runs will begin."""
    return LayerByLayer(model.module, model.holding, keep=keep)


class CompressedLayers:
    """The layers of a model under a rank map, each read and compressed, as by ``compress``, when it is wanted.

    Args:
        model: the dense model, its layers in their files.
        blocks: checked decisions.
        factors_of: member names -> the stored factors of that block, or the neurons of an MLP.
        finish: changes a layer, by its index, once it is compressed.
        apart: compress in a copy, so that the dense layers can run beside; nothing is in memory twice.

    Attributes:
        module: in which layers are compressed.
    """

    def __init__(
        self,
        model: OpenModel,
        blocks: Sequence[BlockRank],
        factors_of: Callable[[tuple[str, ...]], Factors | Neurons],
        finish: Callable[[int], None] | None = None,
        *,
        apart: bool = False,
    ) -> None:
        self.module = _copy_without_layers(model.module) if apart else model.module
        self._model = model
        self._blocks = blocks
        self._factors_of = factors_of
        self._finish = finish
        self._layer_of = {p.name: p.layer for p in model.inventory.projections}

    def decided(self, layer: int) -> list[BlockRank]:
        """Return the blocks of one layer."""
        return [block for block in self._blocks if self._layer_of[block.members[0]] == layer]

    @contextlib.contextmanager
    def held(self, layer: int) -> Iterator[None]:
        """Keep one layer in memory, compressed, meanwhile."""
        module, dense = self.module, self._model.module
        with self._model.holding(layer), contextlib.ExitStack() as stack:
            if module is not dense:
                stack.enter_context(_with_weights_of(decoder_layers(dense)[layer], decoder_layers(module)[layer]))
            decided = [block for block in self.decided(layer) if block.rank is not None]
            stack.enter_context(stacks_as_modules(module, [name for block in decided for name in block.members]))
            for block in decided:
                linears = [module.get_submodule(name) for name in block.members]
                parts = compressed_modules(linears, block, self._factors_of(block.members))
                for name, linear, part in zip(block.members, linears, parts, strict=True):
                    stack.callback(module.set_submodule, name, linear)
                    module.set_submodule(name, part)
            if self._finish is not None:
                self._finish(layer)
            yield

    def run(self, start: Start | None = None) -> LayerByLayer:
        """Return the compressed model, which begins where the dense one does or at a layer before the first block."""
        return LayerByLayer(self.module, self.held, start=start)


def _copy_without_layers(module: nn.Module) -> nn.Module:
    """Return a copy that shares what is in memory with a model whose decoder layers are in files."""
    copied = copy.deepcopy(module, {id(t): t for t in (*module.parameters(), *module.buffers()) if not t.is_meta})
    for layer in decoder_layers(copied):
        layer.__dict__.pop("forward", None)  # that of the original layer, which reads weights
    return copied


@contextlib.contextmanager
def _with_weights_of(layer: nn.Module, copied: nn.Module) -> Iterator[None]:
    """Let a layer's copy have its weights meanwhile."""
    before = dict(copied.named_parameters())
    try:
        for name, parameter in layer.named_parameters():
            _put(copied, name, parameter)
        yield
    finally:
        for name, parameter in before.items():
            _put(copied, name, parameter)


def _put(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    parent, _, last = name.rpartition(".")
    setattr(module.get_submodule(parent), last, parameter)
