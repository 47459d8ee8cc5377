"""What one rank map decides otherwise than another, projection by projection; free of torch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.formats import block_params
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engine.rank_map.document import RankMap
    from engine.types import BlockRank, Inventory, Projection


@dataclass(frozen=True, slots=True)
class Decision:
    """What a map decides about one projection.

    Attributes:
        format: of the block it is in.
        rank: of that block; ``None`` if dense.
        params: the projection's part of the block's parameters. The inner factor that a group shares is split by
            output width, so that the parts add up to the block.
    """

    format: Format
    rank: int | None
    params: int


@dataclass(frozen=True, slots=True)
class RankChange:
    """One projection before and after."""

    projection: str
    layer: int
    kind: str
    before: Decision
    after: Decision

    @property
    def params(self) -> int:
        """Parameters the projection gains (positive) or gives away."""
        return self.after.params - self.before.params


def rank_map_difference(before: RankMap, after: RankMap, inventory: Inventory) -> tuple[RankChange, ...]:
    """Return the projections two maps of one model decide differently about, in model order."""
    old, new = decisions(before, inventory), decisions(after, inventory)
    return tuple(
        RankChange(p.name, p.layer, p.kind, old[p.name], new[p.name])
        for p in inventory.projections
        if old[p.name] != new[p.name]
    )


def params_moved(changes: Iterable[RankChange]) -> tuple[int, int]:
    """Return how many parameters are added to projections, and how many are taken from others."""
    gained = [change.params for change in changes]
    return sum(g for g in gained if g > 0), -sum(g for g in gained if g < 0)


def difference_to_csv(changes: Sequence[RankChange]) -> str:
    """Return a difference as a table with one line per changed projection."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    sides = ("format_before", "rank_before", "params_before", "format_after", "rank_after", "params_after")
    writer.writerow(["projection", "kind", "layer", *sides, "params_gained"])
    for change in changes:
        decisions = [
            value
            for side in (change.before, change.after)
            for value in (side.format, "dense" if side.rank is None else side.rank, side.params)
        ]
        writer.writerow([change.projection, change.kind, change.layer, *decisions, change.params])
    return text.getvalue()


def decisions(rank_map: RankMap, inventory: Inventory) -> Mapping[str, Decision]:
    """Return what a map decides about every projection, by name."""
    projections = inventory.by_name
    found = {name: Decision(Format.DENSE, None, p.params) for name, p in projections.items()}
    for block in rank_map.blocks:
        if block.rank is not None:
            found |= _parts(block, projections)
    return found


def _parts(block: BlockRank, projections: Mapping[str, Projection]) -> dict[str, Decision]:
    """Split a block's parameters by output width; rounding is done on sums, so that nothing is lost."""
    members = [projections[name] for name in block.members]
    if block.format is Format.WIDTH:
        assert block.rank is not None
        neurons = members[-1].in_features
        return {p.name: Decision(block.format, block.rank, block.rank * p.params // neurons) for p in members}
    total = block_params(block, projections)
    width = sum(p.out_features for p in members)
    parts, outs, given = {}, 0, 0
    for p in members:
        outs += p.out_features
        upto = total * outs // width
        parts[p.name] = Decision(block.format, block.rank, upto - given)
        given = upto
    return parts
