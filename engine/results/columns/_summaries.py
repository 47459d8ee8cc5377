"""ROUGE, per set of articles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.results.columns._base import Kind, Measure, Quantity, Role, interval_quantity
from engine.results.rows import by_setting, of_setting
from engine.results.words import unambiguous

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from engine.results.rows import ResultRow, SummaryResult

ROUGES = {"rougeL": "ROUGE-L", "rouge1": "ROUGE-1", "rouge2": "ROUGE-2"}
"""Measures of summaries, for people."""


@dataclass(frozen=True, slots=True)
class SummariesColumn:
    """One set of articles, prompted in one way."""

    title: str
    setting: tuple[Hashable, ...]
    n: int

    def of(self, row: ResultRow) -> SummaryResult | None:
        """Return what was measured of a row on these articles."""
        return of_setting(row.summaries, self.setting)


def summaries_columns(rows: Sequence[ResultRow]) -> tuple[SummariesColumn, ...]:
    """Return the sets of articles of which any row wrote summaries: the largest first, the last used of equal ones."""
    every = sorted((s for row in rows for s in row.summaries), key=lambda s: s.provenance.created, reverse=True)
    found = sorted(by_setting(every), key=lambda s: -s.n)
    long = [f"{s.text}, {s.n:,} articles of up to {s.max_new_tokens} tokens" for s in found]
    titles = unambiguous([s.text for s in found], long)
    return tuple(SummariesColumn(title, s.setting, s.n) for title, s in zip(titles, found, strict=True))


def summary_measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return the columns of every set of articles."""
    return tuple(measure for column in summaries_columns(rows) for measure in _of_summaries(column))


def _of_summaries(column: SummariesColumn) -> tuple[Measure, ...]:
    def measure(
        name: str, title: str, about: str, role: Role, get: Callable[[SummaryResult], Quantity | None]
    ) -> Measure:
        def of(row: ResultRow) -> Quantity | None:
            found = column.of(row)
            return None if found is None else get(found)

        named = f"{title}: {column.title}"
        return Measure(f"{name}[{column.title}]", named, about, Kind.PERCENT, role, lower_is_better=False, of=of)

    found = []
    for name, title in ROUGES.items():
        role = Role.QUALITY if name == "rougeL" else Role.DETAIL
        about = f"F1 overlap of {column.n:,} generated summaries with the references of {column.title}, of 100 %."
        found.append(measure(name, title, about, role, lambda s, n=name: interval_quantity(s.rouge.get(n))))  # type: ignore[misc]
        about = f"{title} minus that of the dense model, paired by article, with its bootstrap interval."
        found.append(
            measure(
                f"{name}_difference",
                f"{title} minus dense",
                about,
                Role.DETAIL,
                lambda s, n=name: interval_quantity(s.differences.get(n)),  # type: ignore[misc]
            )
        )
    return tuple(found)
