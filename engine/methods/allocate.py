"""From a target (kept fraction, bytes, predicted perplexity) to a rank map; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.allocation import IN_PARAMETERS, BestSearched, BudgetByBudget, SearchKind, build_frontier
from engine.errors import InvalidSpecError
from engine.methods.presets import DEFAULT_SETTINGS, AllocationSettings, get_preset
from engine.methods.targets import allocate_to_ratio, allocate_within_bytes
from engine.precision import require_size_type
from engine.rank_map.document import RankMap
from engine.types import Budget, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.allocation import Choices, EvaluatedMap, PredictedMaps, Rule
    from engine.analysis.value import Analysis
    from engine.methods.presets import Preset
    from engine.prediction.power_law import Predictor
    from engine.types import Allocation, BlockRank, Format, GroupCurves

    CurvesByMetric = Mapping[Metric, Sequence[GroupCurves]]


@dataclass(frozen=True, slots=True)
class Request:
    """What a method is asked for beside a budget.

    Attributes:
        locks: blocks whose decision is fixed.
        formats: factored formats instead of the preset's own; ``None``: those.
        settings: of the rule that chooses ranks.
        evaluated: what searches have measured, for presets that take their maps from them.
        predicted: what a search on predictions has found, for the same presets.
    """

    locks: Sequence[BlockRank] = ()
    formats: frozenset[Format] | None = None
    settings: AllocationSettings = DEFAULT_SETTINGS
    evaluated: Sequence[EvaluatedMap] = ()
    predicted: PredictedMaps | None = None

    def search_behind(self, rank_map: RankMap) -> SearchKind | None:
        """Return what the search that found a preset's map judged it by; ``None``: its method does not search."""
        if not get_preset(rank_map.method).needs_search:
            return None
        is_measured = any(one.blocks == rank_map.blocks for one in self.evaluated)
        return SearchKind.MEASURED if is_measured else SearchKind.PREDICTED


AS_PUBLISHED: Final = Request()
"""No locks, and the preset's own formats and settings."""


@dataclass(frozen=True, slots=True)
class Target:
    """What an allocation is to reach; exactly one is given beside the type.

    Attributes:
        keep: kept fraction of the compressible parameters.
        mb: size of the whole model in 10^6 bytes, stored as ``dtype``.
        perplexity_ratio: predicted perplexity over that of the dense model.
        dtype: type the bytes are counted in.
        tokens_per_second: predicted for a device, of all sequences together.
        ms_per_token: milliseconds in which every sequence gets a token there.
    """

    keep: float | None = None
    mb: float | None = None
    perplexity_ratio: float | None = None
    dtype: str = "float16"
    tokens_per_second: float | None = None
    ms_per_token: float | None = None

    def __post_init__(self) -> None:
        """Check that there is one target, and that the type is known."""
        require_size_type(self.dtype)
        names = ("keep", "mb", "perplexity_ratio", "tokens_per_second", "ms_per_token")
        options = {name: f"--{name.replace('_', '-')}" for name in names}
        given = [option for name, option in options.items() if getattr(self, name) is not None]
        if len(given) != 1:
            *others, last = options.values()
            raise InvalidSpecError(
                f"Exactly one of {', '.join(others)} and {last} sets the size of the model, but "
                f"{' and '.join(given) or 'none'} was given."
            )
        for name in names[3:]:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InvalidSpecError(f"{options[name]} {value:g} was given; expected a number above 0.")

    def step_s(self, batch: int) -> float | None:
        """Return the seconds in which each of ``batch`` sequences is to get a token; ``None``: no speed was given."""
        if self.tokens_per_second is not None:
            return batch / self.tokens_per_second
        return None if self.ms_per_token is None else self.ms_per_token / 1e3


def rule_of(
    method: str, curves: CurvesByMetric, request: Request = AS_PUBLISHED, choices: Choices = IN_PARAMETERS
) -> Rule:
    """Return what a preset answers budgets with.

    Args:
        method: name of the preset.
        curves: of every analysed metric.
        request: what it is asked for beside a budget.
        choices: what blocks cost for water-filling.

    Raises:
        InvalidSpecError: the preset does not exist, its metric was not analysed, or it cannot work with the formats
            or the settings.
        InvalidRankMapError: a lock does not fit the curves.
        NumericalError: a curve is not finite.
    """
    preset = get_preset(method)
    groups = _curves_of(preset, curves)
    options = request.settings.options_of(preset)
    formats = preset.formats if request.formats is None else request.formats
    match preset.allocator:
        case "water-filling":
            return build_frontier(groups, formats=formats, locks=request.locks, choices=choices, **options)
        case "best-searched":
            if formats != preset.formats:
                raise InvalidSpecError(
                    f"The method {method} takes searched maps in {', '.join(sorted(preset.formats))} as they are, but "
                    f"{', '.join(sorted(formats))} was asked for; leave the formats out or choose another method."
                )
            return BestSearched(groups, request.evaluated, request.predicted, request.locks)
        case allocator:
            return BudgetByBudget(allocator, groups, formats, request.locks, options)


def allocate_rank_map(
    analysis: Analysis, curves: CurvesByMetric, method: str, budget: Budget, request: Request = AS_PUBLISHED
) -> RankMap:
    """Return the rank map a preset makes for a budget.

    Raises:
        RankScopeError: unknown method, metric not analysed, infeasible budget, or a request that does not fit.
    """
    return rank_map_of(analysis, method, budget, rule_of(method, curves, request).allocate(budget))


def allocate_to_target(analysis: Analysis, method: str, rule: Rule, target: Target, predictor: Predictor) -> RankMap:
    """Return the rank map a preset makes for a target.

    Args:
        analysis: of the model.
        method: name of the preset.
        rule: of the preset, from :func:`rule_of`.
        target: kept fraction, bytes or predicted perplexity; speeds are :mod:`engine.methods.time_budget`'s.
        predictor: makes a perplexity of an allocation's nats.

    Raises:
        InfeasibleBudgetError: the target cannot be reached; the message has the nearest that can.
        RankScopeError: unknown method, or locks that do not fit.
    """
    metric = get_preset(method).metric
    compressible = analysis.inventory.compressible_params
    if target.mb is not None:
        budget, allocation = allocate_within_bytes(rule.allocate, analysis.inventory, target.dtype, target.mb * 1e6)
    elif target.perplexity_ratio is not None:
        budget, allocation = allocate_to_ratio(
            rule, lambda nats: predictor.predict(nats, metric).perplexities()[0], target.perplexity_ratio, compressible
        )
    else:
        assert target.keep is not None
        budget = Budget.of_kept_fraction(target.keep, compressible)
        allocation = rule.allocate(budget)
    return rank_map_of(analysis, method, budget, allocation)


def rank_map_of(analysis: Analysis, method: str, budget: Budget, allocation: Allocation) -> RankMap:
    """Return a preset's allocation as a rank map."""
    return RankMap(
        model_name=analysis.about["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        analysis=analysis.id,
        method=method,
        metric=get_preset(method).metric,
        budget_params=budget.params,
        blocks=allocation.blocks,
    )


def _curves_of(preset: Preset, curves: CurvesByMetric) -> Sequence[GroupCurves]:
    if preset.metric not in curves:
        analysed = ", ".join(sorted(curves)) or "none"
        raise InvalidSpecError(
            f"The method {preset.name} needs the {preset.metric} metric, but this analysis has factors of: {analysed}. "
            + ("Search for maps, which adds it, or analyse" if preset.needs_search else "Analyse")
            + f" the model again with the {preset.metric} metric."
        )
    return curves[preset.metric]
