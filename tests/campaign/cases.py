"""One case of a campaign, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.campaign.ground import Ground


class Outcome(StrEnum):
    """How a case ended; the first three are right."""

    ACCEPTED = "accepted"
    SENTENCE = "one sentence"
    LONG = "still at work"
    TRACEBACK = "traceback"
    BUG = "called a bug"
    SIGNAL = "signal"
    HANG = "hang"
    MEMORY = "too much memory"
    SILENT = "no sentence"
    HALF = "half artifact"
    MISSED = "damage accepted"

    @property
    def is_right(self) -> bool:
        """Whether the program may do so."""
        return self in {Outcome.ACCEPTED, Outcome.SENTENCE, Outcome.LONG}


def nothing(ground: Ground) -> None:
    """Leave the ground as it is."""


@dataclass(frozen=True)
class Case:
    """One command in a copy of the ground.

    Attributes:
        name: says what is given; unique, so that the case can be repeated alone.
        words: of the command.
        prepare: what is changed on the ground before.
        damages: it damages the store, so that damage afterwards is no finding.
        must_refuse: accepting is a finding.
    """

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Ground], None] = nothing
    damages: bool = False
    must_refuse: bool = False


@dataclass(frozen=True)
class Tried:
    """What became of a case.

    Attributes:
        case: that was tried.
        outcome: of it.
        said: the end of what it printed as errors.
        seconds: it took.
    """

    case: Case
    outcome: Outcome
    said: str
    seconds: float
