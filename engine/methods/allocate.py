"""From a target (kept fraction, bytes, predicted perplexity) to a rank map; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.allocation import build_frontier
from engine.errors import InvalidSpecError
from engine.methods.presets import DEFAULT_SETTINGS, AllocationSettings, allocate_preset, get_preset, preset_curves
from engine.methods.targets import (
    ModelBytes,
    allocate_on_frontier,
    allocate_to_ratio,
    allocate_within_bytes,
    bytes_per_param,
)
from engine.rank_map.document import RankMap
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from engine.allocation import EvaluatedMap, Frontier
    from engine.analysis.value import Analysis
    from engine.prediction.power_law import Predictor
    from engine.types import Allocation, BlockRank, Format, GroupCurves, Metric


@dataclass(frozen=True, slots=True)
class Target:
    """What an allocation is to reach; exactly one of the three is given.

    Attributes:
        keep: kept fraction of the compressible parameters.
        mb: size of the whole model in 10^6 bytes, stored as ``dtype``.
        perplexity_ratio: predicted perplexity over that of the dense model.
        dtype: type the bytes are counted in.
    """

    keep: float | None = None
    mb: float | None = None
    perplexity_ratio: float | None = None
    dtype: str = "float16"

    def __post_init__(self) -> None:
        """Check that there is one target, and that the type is known."""
        bytes_per_param(self.dtype)
        given = [n for n in ("keep", "mb", "perplexity_ratio") if getattr(self, n) is not None]
        if len(given) != 1:
            shown = " and ".join(f"--{name.replace('_', '-')}" for name in given) or "none"
            raise InvalidSpecError(
                f"Exactly one of --keep, --mb and --perplexity-ratio says how small the model is to be, but {shown} "
                "was given."
            )


def allocate_to_target(
    analysis: Analysis,
    curves: Mapping[Metric, Sequence[GroupCurves]],
    method: str,
    target: Target,
    predictor: Predictor,
    locks: Sequence[BlockRank] = (),
    formats: frozenset[Format] | None = None,
    settings: AllocationSettings = DEFAULT_SETTINGS,
    *,
    evaluated: Sequence[EvaluatedMap] = (),
    frontier: Frontier | None = None,
) -> RankMap:
    """Return the rank map a preset makes for a target.

    Args:
        analysis: of the model.
        curves: of every analysed metric.
        method: name of the preset.
        target: kept fraction, bytes or predicted perplexity.
        predictor: makes a perplexity of an allocation's nats.
        locks: blocks whose decision is fixed.
        formats: used instead of the preset's own.
        settings: of the rule that chooses ranks.
        evaluated: what searches have measured, for presets that take their maps from them.
        frontier: of the preset with these locks, formats and settings, if it is known: it saves time.

    Raises:
        InfeasibleBudgetError: the target cannot be reached; the message has the nearest that can.
        RankScopeError: unknown method, metric not analysed, or locks or settings that do not fit.
    """
    preset = get_preset(method)
    compressible = analysis.inventory.compressible_params

    def allocate(budget: Budget) -> Allocation:
        return allocate_preset(method, curves, budget, locks, formats, settings, evaluated)

    def predict_ratio(nats: float) -> float:
        return predictor.predict(nats, preset.metric).perplexities()[0]

    if frontier is None and preset.allocator == "water-filling":
        frontier = build_frontier(
            preset_curves(preset, curves),
            formats=preset.formats if formats is None else formats,
            locks=locks,
            **settings.options_of(preset),
        )
    answer: Callable[[Budget], Allocation] = allocate if frontier is None else frontier.allocate
    if target.mb is not None:
        sizes = ModelBytes.of_model(analysis.inventory, target.dtype)
        budget, allocation = allocate_within_bytes(answer, sizes, target.mb * 1e6)
    elif target.perplexity_ratio is not None and frontier is not None:
        budget, allocation = allocate_on_frontier(frontier, predict_ratio, target.perplexity_ratio, compressible)
    elif target.perplexity_ratio is not None:
        budget, allocation = allocate_to_ratio(answer, predict_ratio, target.perplexity_ratio, compressible)
    else:
        assert target.keep is not None
        budget = Budget.of_kept_fraction(target.keep, compressible)
        allocation = answer(budget)
    return rank_map_of(analysis, allocation, method, budget)


def allocate_rank_map(
    analysis: Analysis,
    curves: Mapping[Metric, Sequence[GroupCurves]],
    method: str,
    budget: Budget,
    locks: Sequence[BlockRank] = (),
    formats: frozenset[Format] | None = None,
    settings: AllocationSettings = DEFAULT_SETTINGS,
    evaluated: Sequence[EvaluatedMap] = (),
) -> RankMap:
    """Allocate with a preset and return the rank map.

    ``evaluated`` is what :func:`evaluated_maps` returns, for presets that choose among measured maps.

    Raises:
        RankScopeError: unknown method, metric not analysed, infeasible budget, or locks that do not fit.
    """
    allocation = allocate_preset(method, curves, budget, locks, formats, settings, evaluated)
    return rank_map_of(analysis, allocation, method, budget)


def rank_map_of(analysis: Analysis, allocation: Allocation, method: str, budget: Budget) -> RankMap:
    """Return an allocation as the rank map of a preset."""
    return RankMap.from_allocation(
        allocation,
        model_name=analysis.about["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        analysis=analysis.id,
        method=method,
        metric=get_preset(method).metric,
        budget=budget,
    )
