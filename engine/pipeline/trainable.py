"""Whether the factors of a rank map can be trained, asked before what takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.errors import InvalidSpecError, ResourceError
from engine.formats import block_params
from engine.machine import memory_shortage
from engine.model.module import resolve_device
from engine.types import Format

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

_OF_A_FACTOR: Final = 9
"""Numbers that training holds of every entry: itself, its scale and their product, its gradient, two means of Adam, and
three of the last check.
"""


def require_trainable(rank_map: RankMap, analysis: Analysis, device: str, *, beside_params: int = 0) -> None:
    """Check that a map has something to train, and that memory holds it beside whole models in float32.

    What an accelerator's memory holds is seen when it is filled.

    Args:
        rank_map: what is trained.
        analysis: of the dense model.
        device: where it runs.
        beside_params: parameters of another dense model that is needed at the same time.

    Raises:
        InvalidSpecError: the map leaves everything dense.
        ResourceError: memory is too short.
    """
    projections = analysis.inventory.by_name
    factors = sum(block_params(block, projections) for block in rank_map.blocks if block.rank is not None)
    if not factors:
        raise InvalidSpecError(
            "The rank map leaves every projection dense, so there is nothing to train; give one of a smaller size."
        )
    if resolve_device(device).type != "cpu":
        return
    n_bytes = 4 * (analysis.inventory.total_params + beside_params + _OF_A_FACTOR * factors)
    if (shortage := memory_shortage(f"Training on {analysis.about['model']}", n_bytes)) is not None:
        raise ResourceError(f"{shortage}, or leave training out.")


def require_diagonals(rank_map: RankMap, analysis: Analysis) -> None:
    """Check that a map makes projections of two factors, between which diagonals stand.

    Raises:
        InvalidSpecError: it makes none.
    """
    projections = analysis.projections
    factored = (b for b in rank_map.blocks if b.rank is not None and b.format is not Format.WIDTH)
    if all(projections[block.members[0]].experts is not None for block in factored):
        raise InvalidSpecError(
            "The rank map gives no projection a rank, so there is nothing to post-train; use another."
        )
