"""A dense model and its compressed forms, run one layer at a time where they do not fit into memory."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engine.compression.apply import compressed_modules
from engine.evaluation.streamed import LayerByLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from engine.factorization.blocks import Factors
    from engine.factorization.neurons import Neurons
    from engine.model.opening import OpenModel
    from engine.types import BlockRank


def dense_by_layer(model: OpenModel) -> LayerByLayer:
    """Return a dense model that reads its layers one at a time."""
    return LayerByLayer(model.module, model.holding)


def compressed_by_layer(
    model: OpenModel, blocks: Sequence[BlockRank], factors_of: Callable[[tuple[str, ...]], Factors | Neurons]
) -> LayerByLayer:
    """Return a model whose layers are read and compressed one at a time, as by ``compress``."""
    layer_of = {p.name: p.layer for p in model.inventory.projections}

    @contextlib.contextmanager
    def compressed(layer: int) -> Iterator[None]:
        decided = [block for block in blocks if block.rank is not None and layer_of[block.members[0]] == layer]
        with model.holding(layer), contextlib.ExitStack() as stack:
            for block in decided:
                linears = [model.module.get_submodule(name) for name in block.members]
                parts = compressed_modules(linears, block, factors_of(block.members))
                for name, linear, part in zip(block.members, linears, parts, strict=True):
                    stack.callback(model.module.set_submodule, name, linear)
                    model.module.set_submodule(name, part)
            yield

    return LayerByLayer(model.module, compressed)
