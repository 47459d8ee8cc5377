"""What a column of results is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

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
class Figure:
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
    of: Callable[[ResultRow], Figure | None]
    text: str | None = None


class Measured(Protocol):
    """A stored number that knows what it may be compared with."""

    @property
    def setting(self) -> tuple[Hashable, ...]:
        """Equal where two numbers compare."""
        ...


M = TypeVar("M", bound=Measured)


def by_setting(found: Iterable[M]) -> list[M]:
    """Return one of every setting, in the order they come."""
    first: dict[tuple[Hashable, ...], M] = {}
    for one in found:
        first.setdefault(one.setting, one)
    return list(first.values())


def of_setting(found: Sequence[M], setting: tuple[Hashable, ...]) -> M | None:
    """Return the newest measurement in a setting; rows have the newest first."""
    return next((one for one in found if one.setting == setting), None)


def interval_figure(interval: Interval | None) -> Figure | None:
    """Return a mean with its interval."""
    return None if interval is None else Figure(interval.mean, interval.low, interval.high)
