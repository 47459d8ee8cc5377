"""The compressed model that statistics are taken around: the dense one with truncated weights, whole or by layer."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from engine.compression.truncated import truncated_weights
from engine.methods.allocate import Request, allocate_rank_map
from engine.model.module import device_of
from engine.pipeline.factors import rank_factors_reader
from engine.pipeline.reading.analyses import curves_by_metric
from engine.types import RANK_FORMATS, Budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cache import Store
    from engine.analysis.value import Analysis
    from engine.model.opening import OpenModel


class TruncatedModel:
    """A dense model that is compressed by water-filling while statistics are taken.

    Args:
        model: the dense model.
        base: its analysis.
        kept_fraction: what is kept of it.
        store: holds the factors of the analysis.
    """

    def __init__(self, model: OpenModel, base: Analysis, kept_fraction: float, store: Store) -> None:
        budget = Budget.of_kept_fraction(kept_fraction, base.inventory.compressible_params)
        # Around a narrowed model, what its dropped neurons would need at a rank could not be seen.
        ranks_only = Request(formats=RANK_FORMATS)
        rank_map = allocate_rank_map(base, curves_by_metric(base), "water-filling", budget, ranks_only)
        self._model = model
        self._blocks = rank_map.blocks
        self._layer_of = {name: projection.layer for name, projection in base.projections.items()}
        self._factors_of = rank_factors_reader(base, store, rank_map.metric, device_of(model.module))

    def whole(self) -> contextlib.AbstractContextManager[None]:
        """Return the context in which all weights, in memory, are truncated."""
        return truncated_weights(self._model.module, self._blocks, self._factors_of)

    @contextlib.contextmanager
    def held(self, layer: int) -> Iterator[None]:
        """Keep one layer in memory, truncated, meanwhile."""
        blocks = [block for block in self._blocks if self._layer_of[block.members[0]] == layer]
        with self._model.holding(layer), truncated_weights(self._model.module, blocks, self._factors_of):
            yield
