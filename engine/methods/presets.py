"""The methods offered by name: a metric, an allocator and formats."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from engine.allocation import allocators, best_evaluated
from engine.errors import InvalidSpecError
from engine.registry import unknown_name
from engine.types import Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.allocation import EvaluatedMap
    from engine.types import Allocation, BlockRank, Budget, GroupCurves


@dataclass(frozen=True, slots=True)
class Preset:
    """A method users choose by name.

    Attributes:
        name: stable, kebab-case.
        title: for people.
        metric: what the factors are computed in.
        allocator: registered name of the rule that chooses ranks; ``None`` where a search measures maps and the
            best measured one is taken.
        formats: factored formats it may use.
        summary: one sentence on what it does.
        paper: arXiv id of the work it follows; ``None`` where it is ours.
    """

    name: str
    title: str
    metric: Metric
    allocator: str | None
    formats: frozenset[Format]
    summary: str
    paper: str | None

    @property
    def is_searched(self) -> bool:
        """Whether its maps come from a search that has to run first."""
        return self.allocator is None


_ALL = (
    Preset(
        name="svd-llm",
        title="SVD-LLM",
        metric=Metric.INPUT,
        allocator="uniform",
        formats=frozenset({Format.LOW_RANK}),
        summary="Whitened SVD with the same kept fraction everywhere: the common baseline.",
        paper="2403.07378",
    ),
    Preset(
        name="flrc",
        title="FLRC",
        metric=Metric.INPUT,
        allocator="flrc",
        formats=frozenset({Format.LOW_RANK}),
        summary="Ranks proportional to the importance that one backward pass measures.",
        paper="2510.09332",
    ),
    Preset(
        name="bolaco",
        title="Bolaco",
        metric=Metric.FEATURE,
        allocator=None,
        formats=frozenset({Format.LOW_RANK}),
        summary="PCA of the outputs; kept fractions per kind found by measuring, with Bayesian optimisation.",
        paper="2405.10616",
    ),
    Preset(
        name="skipcat",
        title="SkipCat",
        metric=Metric.INPUT,
        allocator="uniform",
        formats=frozenset({Format.SKIP_CAT}),
        summary="Shared inner factors with an identity block left out: more rank for the same parameters.",
        paper="2512.13494",
    ),
    Preset(
        name="water-filling",
        title="Water-filling",
        metric=Metric.LOSS,
        allocator="water-filling",
        formats=frozenset({Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT}),
        summary="The least predicted loss increase at the budget, over every rank and format.",
        paper=None,
    ),
)

PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _ALL}
"""Every preset by name, in the order they are shown."""


@dataclass(frozen=True, slots=True)
class AllocationSettings:
    """Settings of the rules that choose ranks; the default leaves every preset as published.

    Attributes:
        gamma: FLRC's exponent of the importances.
        min_rank: FLRC's lowest rank of a factored block.
        rank_step: ranks are multiples of this.
    """

    gamma: float = 1.0
    min_rank: int = 1
    rank_step: int = 1

    def options_of(self, preset: Preset) -> dict[str, Any]:
        """Return the keyword arguments for a preset's allocator.

        Raises:
            InvalidSpecError: a setting was changed that the allocator does not have.
        """
        has = () if preset.allocator is None else _SETTINGS.get(preset.allocator, ("rank_step",))
        for field in fields(self):
            if field.name not in has and getattr(self, field.name) != field.default:
                raise InvalidSpecError(
                    f"The method {preset.name} has no setting {field.name}; leave it out, or use the method flrc."
                )
        return {name: getattr(self, name) for name in has}


_SETTINGS: Final[Mapping[str, tuple[str, ...]]] = {"flrc": ("gamma", "min_rank", "rank_step")}


DEFAULT_SETTINGS: Final = AllocationSettings()


def get_preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        InvalidSpecError: there is none of that name.
    """
    if name not in PRESETS:
        raise InvalidSpecError(unknown_name("method", name, PRESETS))
    return PRESETS[name]


def allocate_preset(
    name: str,
    groups_by_metric: Mapping[Metric, Sequence[GroupCurves]],
    budget: Budget,
    locks: Sequence[BlockRank] = (),
    formats: frozenset[Format] | None = None,
    settings: AllocationSettings = DEFAULT_SETTINGS,
    evaluated: Sequence[EvaluatedMap] = (),
) -> Allocation:
    """Allocate by a preset's method, on the curves of its metric.

    Args:
        name: of the preset.
        groups_by_metric: the curves of every analysed metric.
        budget: the hard ceiling in parameters.
        locks: blocks whose decision is fixed.
        formats: used instead of the preset's own.
        settings: of the rule that chooses ranks.
        evaluated: what searches have measured, for presets that take their maps from them.

    Raises:
        InvalidSpecError: the preset does not exist, its metric was not analysed, or its allocator
            cannot work with the formats or the settings.
        InfeasibleBudgetError: nothing fits the budget.
        InvalidRankMapError: a lock does not fit the groups.
        NumericalError: a curve or an importance is not finite.
    """
    preset = get_preset(name)
    curves = preset_curves(preset, groups_by_metric)
    options = settings.options_of(preset)
    if preset.allocator is None:
        if formats is not None and formats != preset.formats:
            raise InvalidSpecError(
                f"The method {name} takes measured maps in {', '.join(sorted(preset.formats))} as they are, but "
                f"{', '.join(sorted(formats))} was asked for; leave the formats out or choose another method."
            )
        return best_evaluated(evaluated, curves, budget, locks)
    allocate = allocators.get(preset.allocator)
    chosen = preset.formats if formats is None else formats
    return allocate(curves, budget, formats=chosen, locks=locks, **options)


def preset_curves(preset: Preset, groups_by_metric: Mapping[Metric, Sequence[GroupCurves]]) -> Sequence[GroupCurves]:
    """Return the curves of a preset's metric.

    Raises:
        InvalidSpecError: the metric was not analysed.
    """
    if preset.metric not in groups_by_metric:
        analysed = ", ".join(sorted(groups_by_metric)) or "none"
        raise InvalidSpecError(
            f"The method {preset.name} needs the {preset.metric} metric, but the analysis has {analysed}; analyse "
            f"the model again with the {preset.metric} metric: --metrics {_with(preset.metric, groups_by_metric)}"
            + (", or run rankscope search, which adds it." if preset.is_searched else ".")
        )
    return groups_by_metric[preset.metric]


def _with(metric: Metric, others: Mapping[Metric, object]) -> str:
    return ",".join(m for m in Metric if m is metric or m in others)
