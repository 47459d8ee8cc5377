"""What a search looks for: the best map at one size, or the best at every size; free of torch and Optuna."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.allocation import MEASURED_REACH
from engine.errors import InfeasibleBudgetError, InvalidSpecError
from engine.search.space import LOWEST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.search.space import SearchSpace

WINDOW = MEASURED_REACH
"""A search for one target tries points that keep from this much less up to the target."""

_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Goal:
    """Which points may be evaluated, and whether their size is an objective too.

    Attributes:
        low: smallest kept fraction of a feasible point.
        high: largest.
        pareto: whether the best points of every size are wanted, or only the best of all.
    """

    low: float
    high: float
    pareto: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.low < self.high <= 1:
            raise InvalidSpecError(
                f"Kept fractions from {self.low:g} to {self.high:g} were asked for; expected two numbers in (0, 1], "
                "the first smaller."
            )

    @classmethod
    def at(cls, target: float) -> Goal:
        """Return the search for the best map that keeps at most ``target``.

        Raises:
            InvalidSpecError: the target is outside (0, 1].
        """
        if not 0 < target <= 1:
            raise InvalidSpecError(f"The target {target:g} was given; expected a kept fraction in (0, 1].")
        return cls(max(target - WINDOW, 0.0), target)

    def constraints(self, kept_fraction: float) -> dict[str, float]:
        """Return what must be at most 0 for a point to be feasible."""
        return {"too large": kept_fraction - self.high, "too small": self.low - kept_fraction}

    def allows(self, kept_fraction: float) -> bool:
        """Whether a point of this size is evaluated."""
        return all(value <= 0 for value in self.constraints(kept_fraction).values())


def draw_points(space: SearchSpace, goal: Goal, count: int, seed: int) -> list[dict[str, float]]:
    """Return ``count`` feasible points drawn evenly from the space.

    Raises:
        InfeasibleBudgetError: hardly any point of the space is feasible.
    """
    drawing = random.Random(seed)  # noqa: S311 - a repeatable search, no secret
    found: list[dict[str, float]] = []
    for _ in range(_DRAWS * count):
        point = {v.name: drawing.uniform(LOWEST, 1.0) for v in space.variables}
        if goal.allows(space.kept_fraction(point)):
            found.append(point)
        if len(found) == count:
            return found
    if not count:
        return found
    raise InfeasibleBudgetError(
        f"Hardly any point of the search space keeps {goal.low:g} to {goal.high:g} of the compressible parameters; "
        "give another target, a wider range or a smaller --rank-step."
    )


def starting_points(
    space: SearchSpace, goal: Goal, guides: Mapping[float, Sequence[Mapping[str, float]]], count: int, seed: int
) -> list[dict[str, float]]:
    """Return what is evaluated before the sampler proposes anything.

    Args:
        space: of the model.
        goal: of the search.
        guides: kept fraction -> points known to be good there, the best first; the uniform one comes after them.
        count: how many points in all; drawn ones make up the rest.
        seed: of the drawn ones.

    Raises:
        InfeasibleBudgetError: hardly any point of the space is feasible.
    """
    points: list[dict[str, float]] = []
    for kept_fraction, of_guide in guides.items():
        for point in (*of_guide, space.uniform(kept_fraction)):
            if goal.allows(space.kept_fraction(point)) and dict(point) not in points:
                points.append(dict(point))
    points = points[:count]
    return points + draw_points(space, goal, count - len(points), seed)
