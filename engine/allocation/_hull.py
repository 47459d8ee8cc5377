"""The lower convex hull of what a block, or a group of blocks, may cost and do.

A choice is a point (parameters, nats). For a multiplier lambda the best choice minimises nats + lambda *
parameters; over all lambda these minimisers are the vertices of the lower convex hull of the points. The
hull is taken in that plane, not over ranks, so the concave cost of the skip formats and the separate
point of dense need no special case.

References:
    Shoham and Gersho, Efficient bit allocation for an arbitrary set of quantizers, IEEE Transactions on
    Acoustics, Speech, and Signal Processing 36 (1988): the algorithm.
    Cover and Thomas, Elements of Information Theory, chapter 10: reverse water-filling.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import NumericalError
from engine.formats import all_rank_params

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block

    Floats = NDArray[np.float64]

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

    def rank(self, vertex: int) -> int | None:
        """Return the rank at ``vertex`` (``None``: dense)."""
        return int(self.ranks[vertex]) or None


@dataclass(frozen=True, slots=True, eq=False)
class GroupChain:
    """The hull of an input group whose members may be stored separately or together.

    Attributes:
        separate: the hull of each member.
        shared: the hull of the members stored together, if that is allowed.
        costs: (n_vertices,) parameters, increasing.
        nats: (n_vertices,) nats per token, decreasing.
        positions: (n_vertices, n_members) each member's vertex in its own hull; meaningless where shared.
        shared_positions: (n_vertices,) the vertex of ``shared``, or -1 where the members are separate.
    """

    separate: tuple[BlockHull, ...]
    shared: BlockHull | None
    costs: NDArray[np.int64]
    nats: Floats
    positions: NDArray[np.int32]
    shared_positions: NDArray[np.int32]

    def decisions(self, vertex: int) -> list[tuple[Block, int | None]]:
        """Return the blocks of the group and their ranks (``None``: dense) at ``vertex``."""
        together = int(self.shared_positions[vertex])
        if self.shared is not None and together >= 0:
            return [(self.shared.block, self.shared.rank(together))]
        own = self.positions[vertex].tolist()
        return [(hull.block, hull.rank(position)) for hull, position in zip(self.separate, own, strict=True)]


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


def trace_block(block: Block) -> BlockHull:
    """Return the hull of one block's choices.

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
    nats = curve.nats[ranks].astype(np.float64)
    costs = all_rank_params(block.storage, curve.max_rank, curve.in_features, curve.out_features)[ranks]
    if block.may_be_dense:
        ranks = np.append(ranks, 0)
        nats = np.append(nats, 0.0)
        costs = np.append(costs, curve.dense_params)
    kept = lower_hull(costs, nats)
    return BlockHull(block, ranks[kept], costs[kept], nats[kept])


def trace_group(separate: Sequence[Block], shared: Block | None) -> GroupChain:
    """Return the hull of a group: of its members' sum, and of the shared block if there is one.

    Raises:
        NumericalError: a curve is not finite.
    """
    hulls = tuple(trace_block(block) for block in separate)
    together = trace_block(shared) if shared is not None else None
    positions = _sum_positions(hulls)
    costs = np.zeros(len(positions), dtype=np.int64)
    nats = np.zeros(len(positions), dtype=np.float64)
    for member, hull in enumerate(hulls):
        costs += hull.costs[positions[:, member]]
        nats += hull.nats[positions[:, member]]
    shared_positions = np.full(len(positions), -1, dtype=np.int32)
    if together is not None:
        n_shared = len(together.ranks)
        costs = np.concatenate([costs, together.costs])
        nats = np.concatenate([nats, together.nats])
        positions = np.concatenate([positions, np.zeros((n_shared, len(hulls)), dtype=np.int32)])
        shared_positions = np.concatenate([shared_positions, np.arange(n_shared, dtype=np.int32)])
    kept = lower_hull(costs, nats)
    return GroupChain(hulls, together, costs[kept], nats[kept], positions[kept], shared_positions[kept])


def _sum_positions(hulls: Sequence[BlockHull]) -> NDArray[np.int32]:
    """Return (n_vertices, n_members): the hulls' Minkowski sum, edges merged by slope, then member."""
    steep = np.concatenate([slopes(hull.costs, hull.nats) for hull in hulls])
    owner = np.repeat(np.arange(len(hulls)), [len(hull.ranks) - 1 for hull in hulls])
    merged = owner[np.argsort(steep, kind="stable")]
    positions = np.zeros((len(merged) + 1, len(hulls)), dtype=np.int32)
    for member in range(len(hulls)):
        np.cumsum(merged == member, out=positions[1:, member])
    return positions
