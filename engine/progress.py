"""How stages say how far they are: one callable, handed down and scaled."""

from __future__ import annotations

from typing import Protocol


class Report(Protocol):
    """Receives progress; ``fraction`` is in [0, 1] of the receiver's whole, ``None`` if unknown."""

    def __call__(self, stage: str, fraction: float | None, message: str) -> None:
        """Take one report."""


def ignore_progress(stage: str, fraction: float | None, message: str) -> None:
    """Drop a report."""


def part_of(report: Report, start: float, end: float) -> Report:
    """Return a report whose 0..1 is ``start``..``end`` of ``report``."""

    def scaled(stage: str, fraction: float | None, message: str) -> None:
        report(stage, None if fraction is None else start + (end - start) * fraction, message)

    return scaled
