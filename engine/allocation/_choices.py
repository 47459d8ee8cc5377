"""What a block may be, in whatever a budget is one of: parameters, bytes or time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from engine.types import RANK_FORMATS, Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.allocation._blocks import Block


class Choices(Protocol):
    """Formats to consider, and what blocks in them cost."""

    def storages(self, allowed: frozenset[Format]) -> list[Format]:
        """Return those of the formats that a curve may be stored in which can be the best; dense if there are none."""

    def of(self, block: Block) -> Iterable[Block]:
        """Yield the block at its price, or at each of several."""


class InParameters:
    """Blocks cost their parameters."""

    def storages(self, allowed: frozenset[Format]) -> list[Format]:
        """Return the cheapest format."""
        return [cheapest(allowed)]

    def of(self, block: Block) -> Iterable[Block]:
        """Yield the block as it is."""
        yield block


IN_PARAMETERS: Final = InParameters()


def cheapest(allowed: Iterable[Format]) -> Format:
    """Return the format with the fewest parameters among unshared, or among shared, ones; dense if there is none.

    At the same rank the nats are the same and skipping saves r^2 parameters, and every rank that saves
    anything without skipping does with it: the other format has no point on the hull.
    """
    factored = sorted(RANK_FORMATS.intersection(allowed), key=lambda storage: not storage.skips)
    return factored[0] if factored else Format.DENSE
