"""The lower convex hull of what a block, or anything made of blocks, may cost and do.

A choice is a point (parameters, nats). For a multiplier lambda the best choice minimises nats + lambda *
parameters; over all lambda these minimisers are the vertices of the lower convex hull of the points. The
hull is taken in that plane, not over ranks, so the concave cost of the skip formats and the separate
point of dense need no special case.

A hull is that of one block's choices, of the sum of parts that are decided each for itself (their hulls'
Minkowski sum), or of whichever of several options is better (the hull of their union). Input groups and
MLPs are nothing but sums and options of blocks.

References:
    Shoham and Gersho, Efficient bit allocation for an arbitrary set of quantizers, IEEE Transactions on
    Acoustics, Speech, and Signal Processing 36 (1988): the algorithm.
    Cover and Thomas, Elements of Information Theory, chapter 10: reverse water-filling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from engine.errors import NumericalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block

    Floats = NDArray[np.float64]
    Hull: TypeAlias = "BlockHull | SumHull | EitherHull"

MOST_BRIDGED = 8
"""Up to this many reflex points are removed by bridging, more of them all at once."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockHull:
    """The choices of one block worth making, from the cheapest to the least damaging.

    Attributes:
        block: the block.
        ranks: (n_vertices,) rank at each vertex, 0 for dense.
        costs: (n_vertices,) parameters, increasing.
        nats: (n_vertices,) predicted loss increase in nats per token, decreasing.
    """

    block: Block
    ranks: NDArray[np.int64]
    costs: NDArray[np.int64]
    nats: Floats

    def decisions(self, vertex: int) -> list[tuple[Block, int | None]]:
        """Return the block and its rank at ``vertex`` (``None``: dense)."""
        return [(self.block, int(self.ranks[vertex]) or None)]


@dataclass(frozen=True, slots=True, eq=False)
class SumHull:
    """The hull of parts that are decided each for itself.

    Attributes:
        parts: the hulls that are added.
        costs: (n_vertices,) parameters, increasing.
        nats: (n_vertices,) nats per token, decreasing.
        positions: (n_vertices, n_parts) the vertex of each part.
    """

    parts: tuple[Hull, ...]
    costs: NDArray[np.int64]
    nats: Floats
    positions: NDArray[np.int32]

    def decisions(self, vertex: int) -> list[tuple[Block, int | None]]:
        """Return every part's blocks and their ranks (``None``: dense) at ``vertex``."""
        positions = self.positions[vertex].tolist()
        return [d for part, at in zip(self.parts, positions, strict=True) for d in part.decisions(at)]


@dataclass(frozen=True, slots=True, eq=False)
class EitherHull:
    """The hull of options of which one is taken.

    Attributes:
        options: the hulls there are to choose from.
        costs: (n_vertices,) parameters, increasing.
        nats: (n_vertices,) nats per token, decreasing.
        chosen: (n_vertices,) which option is taken.
        positions: (n_vertices,) the vertex of that option.
    """

    options: tuple[Hull, ...]
    costs: NDArray[np.int64]
    nats: Floats
    chosen: NDArray[np.int32]
    positions: NDArray[np.int32]

    def decisions(self, vertex: int) -> list[tuple[Block, int | None]]:
        """Return the chosen option's blocks and their ranks (``None``: dense) at ``vertex``."""
        return self.options[int(self.chosen[vertex])].decisions(int(self.positions[vertex]))


def slopes(costs: NDArray[np.integer] | NDArray[np.float64], nats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n_vertices - 1,) nats per parameter along a chain; the one quotient all comparisons use."""
    result: Floats = (nats[1:] - nats[:-1]) / (costs[1:] - costs[:-1])
    return result


def lower_hull(costs: NDArray[np.int64], nats: Floats) -> NDArray[np.intp]:
    """Return the indices of the points on the lower convex hull, from the cheapest to the least nats.

    Points that cost more without lowering the nats are left out, so nats strictly decrease and slopes
    never do; points on an edge of the hull may stay. Of equal points the first is kept.

    Args:
        costs: (n,) parameters, in any order.
        nats: (n,) nats per token.
    """
    chain = np.lexsort((nats, costs))
    x, y = costs[chain].astype(np.float64), nats[chain]
    keep = np.ones(len(chain), dtype=np.bool_)
    keep[1:] = y[1:] < np.minimum.accumulate(y)[:-1]
    while True:
        chain, x, y = chain[keep], x[keep], y[keep]
        keep = np.ones(len(chain), dtype=np.bool_)
        steep = slopes(x, y)
        # A point above the segment of its neighbours is on no hull, so all such points can go at once.
        reflex = np.flatnonzero(steep[1:] < steep[:-1]) + 1
        if not len(reflex):
            return chain
        if len(reflex) > MOST_BRIDGED:
            keep[reflex] = False
        else:
            # Convex runs are left: cut off what the common tangent of the first two does, which would
            # take one round per point otherwise (typically the last ranks before dense).
            end = int(reflex[1]) + 1 if len(reflex) > 1 else len(chain)
            left, right = _common_tangent(x[:end], y[:end], int(reflex[0]))
            keep[left + 1 : right] = False


def _common_tangent(x: Floats, y: Floats, reflex: int) -> tuple[int, int]:
    """Return where the lower common tangent touches the convex runs before and after point ``reflex``."""
    left, right = reflex - 1, reflex + 1
    while True:
        left = int(np.argmax((y[right] - y[: left + 1]) / (x[right] - x[: left + 1])))
        step = int(np.argmin((y[right:] - y[left]) / (x[right:] - x[left])))
        if step == 0:
            return left, right
        right += step


def hull_of_block(block: Block) -> BlockHull:
    """Return the hull of one block's choices: its ranks in increasing order, then dense.

    Raises:
        NumericalError: the curve is not finite.
    """
    curve = block.curve
    if not np.isfinite(curve.nats).all():
        raise NumericalError(
            f"The distortion curve of {curve.name} is not finite; analyse the model again, with more damping "
            "or more calibration text."
        )
    ranks = np.arange(block.ranks.start, block.ranks.stop, block.ranks.step, dtype=np.int64)
    if block.may_be_dense:
        ranks = np.append(ranks, 0)
    nats = np.where(ranks > 0, curve.nats[ranks].astype(np.float64), 0.0)
    if block.rounding_nats is not None:
        nats += block.rounding_nats[ranks]
    costs = block.costs(ranks)
    kept = lower_hull(costs, nats)
    return BlockHull(block, ranks[kept], costs[kept], nats[kept])


def hull_of_sum(parts: Sequence[Hull]) -> Hull:
    """Return the hull of all parts together; one part is its own.

    The parts' edges are merged by slope, then part. At each vertex the parts' nats are added one after the other.
    """
    if len(parts) == 1:
        return parts[0]
    steep = np.concatenate([slopes(part.costs, part.nats) for part in parts])
    owner = np.repeat(np.arange(len(parts)), [len(part.costs) - 1 for part in parts])
    merged = owner[np.argsort(steep, kind="stable")]
    positions = np.zeros((len(merged) + 1, len(parts)), dtype=np.int32)
    costs = np.zeros(len(positions), dtype=np.int64)
    nats = np.zeros(len(positions), dtype=np.float64)
    for place, part in enumerate(parts):
        np.cumsum(merged == place, out=positions[1:, place])
        costs += part.costs[positions[:, place]]
        nats += part.nats[positions[:, place]]
    # Sums are rounded, so that a point may lie above its neighbours' segment by the last digit.
    kept = lower_hull(costs, nats)
    return SumHull(tuple(parts), costs[kept], nats[kept], positions[kept])


def hull_of_either(options: Sequence[Hull]) -> Hull:
    """Return the hull of whichever option is better, of equal points that of the first; one option is its own."""
    if len(options) == 1:
        return options[0]
    sizes = [len(option.costs) for option in options]
    costs = np.concatenate([option.costs for option in options])
    nats = np.concatenate([option.nats for option in options])
    chosen = np.repeat(np.arange(len(options), dtype=np.int32), sizes)
    positions = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
    kept = lower_hull(costs, nats)
    return EitherHull(tuple(options), costs[kept], nats[kept], chosen[kept], positions[kept])
