"""A rank map for a budget in bytes, with bits chosen per block or the same everywhere; free of torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from engine.allocation import BitChoices, build_frontier
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.methods.presets import get_preset
from engine.precision import STORED_AS, model_bytes
from engine.rank_map.ceiling import ByteCeiling
from engine.rank_map.document import RankMap
from engine.types import BITS, Allocation, BlockRank, Format, GroupCurves

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.allocation import Frontier
    from engine.analysis.value import Analysis
    from engine.methods.allocate import Request
    from engine.types import DistortionCurve, Inventory

CHOOSE: Final = "choose"
BIT_CHOICES: Final = (CHOOSE, *map(str, BITS))
"""What may be asked for: bits chosen per block, or one number for all."""
METHOD: Final = "water-filling"
"""The method that can choose bits: it weighs them against ranks in nats."""


@dataclass(frozen=True, slots=True, eq=False)
class ByteRule:
    """What answers budgets in bytes: made once, asked for many sizes.

    Attributes:
        analysis: of the model.
        frontiers: one for each set of bits that may be chosen from.
        dense: the dense model at each number of bits, unless something is held.
    """

    analysis: Analysis
    frontiers: Sequence[Frontier]
    dense: Sequence[Allocation]

    def allocate(self, n_bytes: float) -> RankMap:
        """Return the rank map with the least predicted increase that makes the whole model at most so large.

        Raises:
            InfeasibleBudgetError: the smallest allocation is larger.
        """
        inventory = self.analysis.inventory
        others = 2 * (inventory.total_params - inventory.compressible_params)
        limit = int(n_bytes) - others
        found = [frontier.within(limit) for frontier in self.frontiers if frontier.costs[0] <= limit]

        def size(allocation: Allocation) -> int:
            return model_bytes("float16", allocation.blocks, inventory)

        fitting = [one for one in (*found, *self.dense) if size(one) <= n_bytes]
        if not fitting:
            least = min(int(frontier.costs[0]) for frontier in self.frontiers) + others
            raise InfeasibleBudgetError(
                f"{n_bytes / 1e6:.4g} MB were asked for, but the smallest this makes the model is "
                f"{-(-least // 100) / 1e4:.4f} MB; ask for at least that, release held ranks, or allow fewer bits."
            )
        best = min(fitting, key=lambda one: (one.nats, size(one)))
        about = self.analysis.about
        named = (about["model"], about["model_fingerprint"], self.analysis.id, METHOD, get_preset(METHOD).metric, None)
        return RankMap(*named, best.blocks, ByteCeiling(int(n_bytes)))


def byte_rule(
    analysis: Analysis, groups: Sequence[GroupCurves], request: Request, bits: str, cut_weight: float = 1.0
) -> ByteRule:
    """Return what answers budgets in bytes.

    With chosen bits an answer is never worse, as predicted, than with any one number of bits for all blocks, nor than
    the dense model at it: those are among what is compared.

    Args:
        analysis: of the model; with predictions of rounding, unless all bits are 16.
        groups: its curves in the loss metric.
        request: locks, formats and settings of water-filling.
        bits: one of :data:`BIT_CHOICES`.
        cut_weight: what a nat of cutting counts beside one of rounding; see ``engine.prediction.cutting``.

    Raises:
        RankScopeError: a lock does not fit, or a setting is none of water-filling's.
    """
    if bits not in BIT_CHOICES:
        raise InvalidSpecError(f"The bits {bits!r} were given; expected one of {', '.join(BIT_CHOICES)}.")
    weighted = [_weighted(group, cut_weight) for group in groups]
    frontiers = [_frontier(analysis, weighted, request, offered) for offered in _offered(bits)]
    single = [] if request.locks else [offered[0] for offered in _offered(bits) if len(offered) == 1]
    return ByteRule(analysis, frontiers, [dense_at(analysis, bits) for bits in single])


def allocate_bytes(
    analysis: Analysis,
    groups: Sequence[GroupCurves],
    request: Request,
    bits: str,
    n_bytes: float,
    cut_weight: float = 1.0,
) -> RankMap:
    """Return the rank map of :func:`byte_rule` that makes the whole model at most ``n_bytes`` large.

    Raises:
        InfeasibleBudgetError: the smallest allocation is larger.
        RankScopeError: a lock does not fit, or a setting is none of water-filling's.
    """
    return byte_rule(analysis, groups, request, bits, cut_weight).allocate(n_bytes)


def _weighted(group: GroupCurves, weight: float) -> GroupCurves:
    def weighted(curve: DistortionCurve) -> DistortionCurve:
        return replace(curve, nats=weight * curve.nats)

    shared, width = (None if curve is None else weighted(curve) for curve in (group.shared, group.width))
    return GroupCurves(tuple(map(weighted, group.separate)), shared, width)


def blocks_at_bits(rank_map: RankMap) -> dict[str, int]:
    """Return how many blocks a map has of each number of bits and format: ``8 bits, low-rank``."""
    kinds = sorted(((block.bits or max(BITS), block.format.value) for block in rank_map.blocks), reverse=True)
    return {f"{bits} bits, {storage}": n for (bits, storage), n in Counter(kinds).items()}


def _offered(bits: str) -> list[tuple[int, ...]]:
    """Return the sets of bits to compare: all to choose from, then each by itself."""
    return [BITS, *((each,) for each in BITS)] if bits == CHOOSE else [(int(bits),)]


def dense_at(analysis: Analysis, bits: int) -> Allocation:
    """Return the dense model at a number of bits."""
    blocks = tuple(BlockRank((name,), Format.DENSE, None, bits) for name in analysis.projections)
    nats = 0.0 if analysis.rounding is None else sum(analysis.rounding.of(block) for block in blocks)
    return Allocation(blocks, analysis.inventory.compressible_params, nats)


def single_bits(rank_map: RankMap, inventory: Inventory) -> int | None:
    """Return the most bits below 16 at which the dense model is no larger than a map with bits of its own was to be.

    ``None``: it has none of its own, or even the fewest are too many.
    """
    if not rank_map.is_rounded:
        return None
    made_for = rank_map.ceiling.n_bytes if isinstance(rank_map.ceiling, ByteCeiling) else 0
    limit = max(made_for, model_bytes("float16", rank_map.blocks, inventory))
    fitting = (bits for bits in BITS if bits < max(BITS) and model_bytes(STORED_AS[bits], (), inventory) <= limit)
    return max(fitting, default=None)


def _frontier(
    analysis: Analysis, groups: Sequence[GroupCurves], request: Request, offered: tuple[int, ...]
) -> Frontier:
    preset = get_preset(METHOD)
    return build_frontier(
        groups,
        formats=preset.formats if request.formats is None else request.formats,
        locks=request.locks,
        choices=BitChoices(offered, analysis.rounding, analysis.projections),
        **request.settings.options_of(preset),
    )
