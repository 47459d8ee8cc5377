"""What a rank map costs, and what it discards; free of torch and of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from engine.formats import allocated_params, index_bytes
from engine.precision import model_bytes
from engine.types import Metric, block_name

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.types import BlockRank, Inventory


@dataclass(frozen=True, slots=True)
class RankMapCost:
    """What a rank map costs, and the half discarded energy that predictions start from.

    Attributes:
        params: of all compressible projections under the map.
        kept_fraction: of their dense parameters.
        model_params: of the whole model under the map.
        index_bytes: column orders that skip formats store beside the parameters.
        nats: half the discarded energy of the loss metric, weighed by depth, in nats per token, and what rounding
            blocks to bits of their own adds, where the analysis knows.
        blocks: the decisions.
        inventory: of the dense model.
    """

    params: int
    kept_fraction: float
    model_params: int
    index_bytes: int
    nats: float
    blocks: tuple[BlockRank, ...] = field(repr=False)
    inventory: Inventory = field(repr=False, compare=False)

    def bytes_at(self, dtype: str) -> int:
        """Return the bytes of the whole model's weights stored as a type of :data:`SIZE_TYPES`."""
        return model_bytes(dtype, self.blocks, self.inventory)


def cost_of(analysis: Analysis, rank_map: RankMap) -> RankMapCost:
    """Return what a checked rank map costs and discards.

    Raises:
        RankScopeError: the analysis stored no factors in the map's metric.
    """
    analysis.require_factors(rank_map.metric)
    curves = analysis.nats[rank_map.metric]
    params = allocated_params(rank_map.blocks, analysis.inventory)
    factored = [b for b in rank_map.blocks if b.rank is not None]
    nats = sum(float(curves[block_name(b.members)][b.rank]) for b in factored)
    nats += sum(rounding_nats(analysis, block, rank_map.metric) for block in rank_map.blocks if block.is_rounded)
    indices = sum(index_bytes(b, analysis.projections[b.members[0]].in_features) for b in factored)
    dense = analysis.inventory.compressible_params
    whole = analysis.inventory.total_params - dense + params
    return RankMapCost(params, params / dense, whole, indices, nats, rank_map.blocks, analysis.inventory)


def rounding_nats(analysis: Analysis, block: BlockRank, metric: Metric) -> float:
    """Return what rounding a block to bits of its own is predicted to add; 0 where the analysis does not know."""
    is_stack = analysis.projections[block.members[0]].experts is not None
    if analysis.rounding is None or metric is not Metric.LOSS or block.format.skips or is_stack:
        return 0.0
    neurons = next((mlp.neurons for mlp in analysis.inventory.mlps if mlp.name == block.name), None)
    return analysis.rounding.of(block, neurons)
