"""The variables of a search: one kept fraction per kind of projection, and what a point of them means.

Derived from the kinds and shapes a model has; nothing is written down per architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.formats import allocated_params, block_params
from engine.types import BlockRank, Format, Projection

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.types import Inventory

LOWEST = 0.2
"""Smallest kept fraction of a variable; 1 means dense."""

_HALVINGS = 40


class Layout(StrEnum):
    """How finely the variables tell projections apart."""

    KINDS = "5x1"
    KINDS_AND_QUARTERS = "5x4"


@dataclass(frozen=True, slots=True)
class SpaceSpec:
    """What decides a search space, apart from the model.

    Attributes:
        layout: one variable per kind, or per kind and quarter of the depth.
        rank_step: ranks are multiples of this, and never below one step.
        tied: kinds that share one variable where they read the same input.
        dense: kinds that stay dense where they read the same input as tied ones.
    """

    layout: Layout = Layout.KINDS
    rank_step: int = 8
    tied: tuple[str, ...] = ("q", "k")
    dense: tuple[str, ...] = ("v",)

    def __post_init__(self) -> None:
        """Check the range."""
        if self.rank_step < 1:
            raise InvalidSpecError(f"The rank step {self.rank_step} was given; expected at least 1.")


@dataclass(frozen=True, slots=True)
class Variable:
    """One kept fraction in [0.2, 1] and the projections it is for."""

    name: str
    projections: tuple[Projection, ...]

    @property
    def params(self) -> int:
        """Parameters of its projections when dense."""
        return sum(p.params for p in self.projections)


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Variables over some of a model's projections; the others stay dense.

    Attributes:
        spec: what it was made from.
        variables: in the order their first projections run.
        inventory: of the model.
    """

    spec: SpaceSpec
    variables: tuple[Variable, ...]
    inventory: Inventory

    @classmethod
    def of(cls, inventory: Inventory, spec: SpaceSpec | None = None) -> SearchSpace:
        """Return the space of a model.

        In an input group that has every tied and every dense kind (separate query, key and value projections)
        the tied ones share a variable and the dense ones have none; every other kind has a variable of its own.
        """
        spec = spec or SpaceSpec()
        layers = sorted({group.layer for group in inventory.groups})
        members: dict[str, list[Projection]] = {}
        for group in inventory.groups:
            has_roles = {*spec.tied, *spec.dense} <= {p.kind for p in group.members} and bool(spec.tied)
            for p in group.members:
                if has_roles and p.kind in spec.dense:
                    continue
                name = "+".join(spec.tied) if has_roles and p.kind in spec.tied else p.kind
                if spec.layout is Layout.KINDS_AND_QUARTERS:
                    name += f"@{1 + 4 * layers.index(group.layer) // len(layers)}"
                members.setdefault(name, []).append(p)
        variables = tuple(Variable(name, tuple(of)) for name, of in members.items())
        return cls(spec, variables, inventory)

    def blocks(self, point: Mapping[str, float]) -> tuple[BlockRank, ...]:
        """Return the decision for every projection, in model order.

        A fraction of 1 or more is dense, and so is one whose rank would save nothing.
        """
        fractions = {p.name: point[v.name] for v in self.variables for p in v.projections}
        return tuple(self.decide(p, fractions.get(p.name, 1.0)) for p in self.inventory.projections)

    def params(self, point: Mapping[str, float]) -> int:
        """Return the parameters of all projections at a point."""
        return allocated_params(self.blocks(point), self.inventory)

    def kept_fraction(self, point: Mapping[str, float]) -> float:
        """Return the kept fraction of all projections at a point."""
        return self.params(point) / self.inventory.compressible_params

    def scaled(self, shape: Mapping[str, float], kept_fraction: float) -> dict[str, float]:
        """Return the largest multiple of ``shape``, clipped to [0.2, 1], that keeps at most ``kept_fraction``.

        Raises:
            InfeasibleBudgetError: even the smallest point of the space keeps more.
        """

        def point(factor: float) -> dict[str, float]:
            return {name: min(max(factor * fraction, LOWEST), 1.0) for name, fraction in shape.items()}

        low, high = 0.0, 1 / min(shape.values())
        least = self.kept_fraction(point(low))
        if least > kept_fraction:
            raise InfeasibleBudgetError(
                f"Every point of the search space keeps at least {least:.3f} of the compressible parameters, but at "
                f"most {kept_fraction:g} was asked for; give a larger --target or a smaller --rank-step."
            )
        if self.kept_fraction(point(high)) <= kept_fraction:
            return point(high)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self.kept_fraction(point(middle)) <= kept_fraction else (low, middle)
        return point(low)

    def uniform(self, kept_fraction: float) -> dict[str, float]:
        """Return the point with one fraction everywhere that keeps at most ``kept_fraction`` in all.

        Raises:
            InfeasibleBudgetError: even the smallest point of the space keeps more.
        """
        return self.scaled({v.name: 1.0 for v in self.variables}, kept_fraction)

    def projected(self, blocks: Sequence[BlockRank], kept_fraction: float) -> dict[str, float]:
        """Return the point nearest in spirit to a rank map: its mean kept fraction in every variable.

        Args:
            blocks: of unshared formats; projections in none of them count as dense.
            kept_fraction: the point is scaled to keep at most this in all.

        Raises:
            InfeasibleBudgetError: even the smallest point of the space keeps more.
        """
        projections = self.inventory.by_name
        kept = {name: p.params for name, p in projections.items()}
        kept |= {block.members[0]: block_params(block, projections) for block in blocks}
        means = {v.name: sum(kept[p.name] for p in v.projections) / v.params for v in self.variables}
        return self.scaled({name: max(mean, LOWEST) for name, mean in means.items()}, kept_fraction)

    def decide(self, projection: Projection, fraction: float) -> BlockRank:
        """Return the decision for one projection that is to keep a fraction."""
        per_rank = projection.matrices * (projection.in_features + projection.out_features)
        step = self.spec.rank_step
        # The tiny addend keeps a fraction that was computed from a rank at that rank.
        rank = max(int(fraction * projection.params / per_rank / step + 1e-9) * step, step)
        if fraction >= 1 or rank * per_rank >= projection.params:
            return BlockRank((projection.name,), Format.DENSE, None)
        return BlockRank((projection.name,), Format.LOW_RANK, rank)
