"""The whole table as a flat file."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from engine.results.columns._running import running_measures
from engine.results.columns._size import size_measures
from engine.results.columns._summaries import summary_measures
from engine.results.columns._tasks import task_measures
from engine.results.columns._texts import text_measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.columns._base import Measure
    from engine.results.rows import ResultRow

ABOUT = ("id", "method", "metric", "refinement")


def measures(rows: Sequence[ResultRow]) -> tuple[Measure, ...]:
    """Return every column in which any of the rows has a number."""
    every = (
        *size_measures(),
        *text_measures(rows),
        *task_measures(rows),
        *summary_measures(rows),
        *running_measures(rows),
    )
    return tuple(measure for measure in every if any(measure.of(row) is not None for row in rows))


def results_to_csv(rows: Sequence[ResultRow]) -> str:
    """Return one line per row; a number with an interval has the columns ``_low`` and ``_high`` beside it.

    What was not measured is empty. Scores have ``_stderr`` as well.
    """
    columns: dict[str, list[float | str | None]] = {name: [getattr(row, name) for row in rows] for name in ABOUT}
    for measure in measures(rows):
        figures = [measure.of(row) for row in rows]
        for end in ("value", "low", "high", "stderr"):
            values = [None if figure is None else getattr(figure, end) for figure in figures]
            if any(value is not None for value in values):
                columns[measure.name if end == "value" else f"{measure.name}_{end}"] = values
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    for cells in zip(*columns.values(), strict=True):
        writer.writerow([_cell(cell) for cell in cells])
    return text.getvalue()


def _cell(value: float | str | None) -> float | str:
    """Return a cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value[:1] in "=+-@\t\r":
        return "'" + value
    return "" if value is None else value
