"""The methods offered by name: a metric, an allocator and formats."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from engine.errors import InvalidSpecError
from engine.registry import unknown_name
from engine.types import RANK_FORMATS, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Preset:
    """A method users choose by name.

    Attributes:
        name: stable, kebab-case.
        title: for people.
        metric: what the factors are computed in.
        allocator: name of the rule that chooses ranks.
        formats: factored formats it may use.
        summary: one sentence on what it does.
        paper: arXiv id of the work it follows; ``None`` where it is ours.
        settings: fields of :class:`AllocationSettings` that its allocator has.
        needs_search: whether its maps are those that a search has found.
    """

    name: str
    title: str
    metric: Metric
    allocator: str
    formats: frozenset[Format]
    summary: str
    paper: str | None
    settings: tuple[str, ...] = ("rank_step",)
    needs_search: bool = False

    @property
    def uses_importances(self) -> bool:
        """Whether ranks depend on FLRC's importances."""
        return "gamma" in self.settings


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
        settings=("gamma", "min_rank", "rank_step"),
    ),
    Preset(
        name="bolaco",
        title="Bolaco",
        metric=Metric.FEATURE,
        allocator="best-searched",
        formats=frozenset({Format.LOW_RANK}),
        summary="PCA of the outputs; kept fractions per kind found by a search: on predictions, then by measuring.",
        paper="2405.10616",
        settings=(),
        needs_search=True,
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
        formats=RANK_FORMATS | {Format.WIDTH},
        summary="The least predicted loss increase at the budget, over every rank, width and format.",
        paper=None,
    ),
    Preset(
        name="width",
        title="Width",
        metric=Metric.LOSS,
        allocator="uniform",
        formats=frozenset({Format.WIDTH}),
        summary="Every MLP keeps the same share of its neurons and nothing is factored: runs wherever the model runs.",
        paper=None,
    ),
)

PRESETS: Final[Mapping[str, Preset]] = {preset.name: preset for preset in _ALL}
"""Every preset by name, in the order they are shown."""

SEARCHED: Final = next(preset for preset in _ALL if preset.needs_search)
"""The preset whose maps a search finds."""


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
        for field in fields(self):
            if field.name not in preset.settings and getattr(self, field.name) != field.default:
                raise InvalidSpecError(
                    f"The method {preset.name} has no setting {field.name}; leave it out, or use the method flrc."
                )
        return {name: getattr(self, name) for name in preset.settings}

    def limited_to(self, preset: Preset) -> AllocationSettings:
        """Return these settings with those at their defaults that a preset's allocator does not have."""
        return AllocationSettings(**{name: getattr(self, name) for name in preset.settings})


DEFAULT_SETTINGS: Final = AllocationSettings()


def get_preset(name: str) -> Preset:
    """Return a preset by name.

    Raises:
        InvalidSpecError: there is none of that name.
    """
    if name not in PRESETS:
        raise InvalidSpecError(unknown_name("method", name, PRESETS))
    return PRESETS[name]
