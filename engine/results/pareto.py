"""Which of several choices nothing else beats; free of torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each (cost, harm), both better when smaller, whether no other point is as good and in one better.

    Equal points beat each other in nothing, so either all of them are on the front or none. Points that are not
    finite are never on it and beat nothing.
    """
    finite = [index for index, point in enumerate(points) if all(map(math.isfinite, point))]
    on_front = [False] * len(points)
    least_before = math.inf  # least harm among strictly smaller costs
    position = 0
    ordered = sorted(finite, key=lambda index: points[index])
    while position < len(ordered):
        cost = points[ordered[position]][0]
        same_cost = [index for index in ordered[position:] if points[index][0] == cost]
        least = points[same_cost[0]][1]
        if least < least_before:
            for index in same_cost:
                on_front[index] = points[index][1] == least
            least_before = least
        position += len(same_cost)
    return on_front
