"""Zero-shot accuracies and ROUGE beside the dense model, with bars."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.report._bars import paired_bars, scale_top
from engine.results.columns import Quantity, summaries_columns, summary_measures, task_columns, task_measures
from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from engine.results.columns import Measure
    from engine.results.rows import ResultRow


class ScoreRow(NamedTuple):
    """One score of both models.

    Attributes:
        title: of the task or of the measure.
        n: items or articles.
        dense: as text, and its uncertainty; empty if the dense model was not scored.
        compressed: the same.
        difference: paired, and its interval; empty where items are not paired.
        settled: what the interval of the difference says.
        bars: both, drawn.
    """

    title: str
    n: str
    dense: tuple[str, str]
    compressed: tuple[str, str]
    difference: tuple[str, str]
    settled: str
    bars: Markup


def task_rows(row: ResultRow, dense: ResultRow) -> list[ScoreRow]:
    """Return a line per task, after a line per mean over tasks."""
    every = task_measures([row])
    accuracies = [m for m in every if m.name.startswith(("zero_shot_mean[", "acc["))]
    differences = {m.name: m for m in every}
    top = _top(accuracies, [row, dense])
    amounts = {
        f"acc[{task.name}]": f"{'first' if task.limit else 'all'} {task.n:,} items" for task in task_columns([row])
    }
    found = []
    for measure in accuracies:
        own = measure.of(row)
        if own is None:
            continue
        paired = differences.get(measure.name.replace("acc[", "acc_difference["))
        change = None if paired is None or paired is measure else paired.of(row)
        title = measure.title.removeprefix("Accuracy: ")
        found.append(_row(title, amounts.get(measure.name, "mean"), measure.of(dense), own, change, top))
    return found


def rouge_rows(row: ResultRow, dense: ResultRow) -> list[ScoreRow]:
    """Return a line per set of articles and ROUGE measure."""
    every = {m.name: m for m in summary_measures([row])}
    shown = [m for name, m in every.items() if name.startswith("rouge") and "_difference[" not in name]
    top = _top(shown, [row, dense])
    found = []
    for column in summaries_columns([row]):
        for measure in (m for m in shown if m.name.endswith(f"[{column.title}]")):
            own = measure.of(row)
            if own is None:
                continue
            change = every[measure.name.replace("[", "_difference[", 1)].of(row)
            found.append(_row(measure.title, f"{column.n:,} articles", measure.of(dense), own, change, top))
    return found


def _row(title: str, n: str, dense: Quantity | None, own: Quantity, change: Quantity | None, top: float) -> ScoreRow:
    label = f"{title}: compressed {percent(own.value)}" + ("" if dense is None else f", dense {percent(dense.value)}")
    settled = ""
    if change is not None and change.low is not None and change.high is not None:
        apart = change.low > 0 or change.high < 0
        settled = ("better" if change.value > 0 else "worse") if apart else "not significant"
    bars = paired_bars(dense, own, top, label)
    return ScoreRow(title, n, _written(dense), _written(own), _points(change), settled, bars)


def _top(found: Sequence[Measure], rows: Sequence[ResultRow]) -> float:
    return scale_top([measure.of(row) for measure in found for row in rows])


def _written(figure: Quantity | None) -> tuple[str, str]:
    if figure is None:
        return "", ""
    if figure.stderr is not None:
        return percent(figure.value), f"± {100 * figure.stderr:.1f}"
    if figure.low is not None and figure.high is not None:
        return percent(figure.value), f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"
    return percent(figure.value), ""


def _points(figure: Quantity | None) -> tuple[str, str]:
    if figure is None or figure.low is None or figure.high is None:
        return "", ""
    value, low, high = (f"{100 * x:+.1f}".replace("-", "\u2212") for x in (figure.value, figure.low, figure.high))
    return value, f"{low} to {high}"
