"""What a column of results is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.evaluation.bootstrap import Interval
    from engine.results.rows import ResultRow

NORMAL_95 = 1.959964
"""Standard errors on either side of a mean that hold 95 % of a normal distribution."""


class Kind(StrEnum):
    """How a number is written."""

    RATIO = "ratio"
    NUMBER = "number"
    PERCENT = "percent"
    MB = "mb"
    COUNT = "count"


class Role(StrEnum):
    """What a column is for: something to gain, something to pay, or more about either."""

    QUALITY = "quality"
    COST = "cost"
    DETAIL = "detail"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number, with the ends of its interval where it has one."""

    value: float
    low: float | None = None
    high: float | None = None
    stderr: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A column: the numbers of one kind, measured in one setting, of every row that has one.

    Attributes:
        name: unique among the columns of a table; in files.
        title: for people.
        about: one sentence: what it is, and a fraction of what.
        kind: how it is written.
        role: what it is for.
        lower_is_better: how two of them compare.
        text: the title of the text it belongs to; ``None`` if to none.
        of: row -> figure, or ``None`` where it was not measured.
    """

    name: str
    title: str
    about: str
    kind: Kind
    role: Role
    lower_is_better: bool
    of: Callable[[ResultRow], Quantity | None]
    text: str | None = None


def interval_quantity(interval: Interval | None) -> Quantity | None:
    """Return a mean with its interval."""
    return None if interval is None else Quantity(interval.mean, interval.low, interval.high)
