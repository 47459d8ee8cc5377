"""Something gained against something paid, with the runs that no other beats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go

from app.charts.style import NEUTRAL, PER_HUNDRED, framed, method_style, ratio_axis
from engine.results.columns import Kind
from engine.results.palette import shown_place
from engine.results.pareto import pareto_front
from engine.results.rounding import ROUNDED_UP_TO
from engine.results.rows import DENSE
from engine.results.words import method_title, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.columns import Measure, Quantity
    from engine.results.rows import ResultRow


_FILLED: Final = {"": "", "8 bits": "-open", "4 bits": "-open-dot", "bits per block": "-dot"}
"""What the weights are rounded to -> how a marker is filled."""


def front_of(rows: Sequence[ResultRow], cost: Measure, quality: Measure) -> list[ResultRow]:
    """Return the rows that no other row with both numbers beats, the cheapest first."""
    points = _points(rows, cost, quality)
    front = pareto_front([(_harm(cost, paid), _harm(quality, gained)) for _, paid, gained in points])
    best = [(paid.value, row) for (row, paid, _), is_best in zip(points, front, strict=True) if is_best]
    return [row for _, row in sorted(best, key=lambda pair: pair[0] if cost.lower_is_better else -pair[0])]


def frontier(rows: Sequence[ResultRow], cost: Measure, quality: Measure) -> go.Figure:
    """Draw a point per row that has both numbers, intervals where there are any, and a line along the front.

    Args:
        rows: none of them refined, the dense model among them.
        cost: along.
        quality: upwards.
    """
    points = _points(rows, cost, quality)
    on_front = front_of(rows, cost, quality)
    figure = go.Figure()
    line = [
        (_unit(cost) * paid.value, _unit(quality) * gained.value) for row, paid, gained in points if row in on_front
    ]
    line.sort()
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in line],
            y=[y for _, y in line],
            mode="lines",
            name="Pareto front",
            # Between two maps of the front there is what the cheaper one gives.
            line={
                "dash": "dash",
                "color": NEUTRAL,
                "width": 1.5,
                "shape": "hv" if cost.lower_is_better else "vh",
            },
            hoverinfo="skip",
        )
    )
    for method in sorted({row.method for row, *_ in points}, key=lambda name: (name != DENSE, shown_place(name))):
        own = [point for point in points if point[0].method == method]
        figure.add_trace(_trace(method, own, [row in on_front for row, *_ in own], cost, quality))
    figure.update_xaxes(title=cost.title.partition(":")[0], **_axis(cost))
    upwards = ratio_axis(figure) if quality.kind is Kind.RATIO else _axis(quality)
    figure.update_yaxes(title=quality.title.partition(":")[0], **upwards)
    return framed(figure)


def _trace(method: str, points: Sequence[Any], on_front: Sequence[bool], cost: Measure, quality: Measure) -> go.Scatter:
    dense = method == DENSE
    color, symbol = (NEUTRAL, "hexagon2") if dense else method_style(method_title(method))
    texts = [
        f"{'dense model' if dense else method_title(method)}, {percent(row.size.kept_fraction)} kept"
        f"{row.rounded_to and f', {row.rounded_to}'}<br>"
        f"{cost.title}: {_written(cost, paid)}<br>{quality.title}: {_written(quality, gained)}"
        + ("<br>on the Pareto front" if best else "")
        for (row, paid, gained), best in zip(points, on_front, strict=True)
    ]
    return go.Scatter(
        x=[_unit(cost) * paid.value for _, paid, _ in points],
        y=[_unit(quality) * gained.value for *_, gained in points],
        error_x=_bars(cost, [paid for _, paid, _ in points]),
        error_y=_bars(quality, [gained for *_, gained in points]),
        mode="markers",
        name="dense model" if dense else method_title(method),
        marker={
            "color": color,
            "symbol": [symbol + _FILLED[row.rounded_to] for row, *_ in points],
            "size": [13 if best else 9 for best in on_front],
            "opacity": [1.0 if best else 0.65 for best in on_front],
            "line": {
                "width": [2 if row.rounded_to else 1 for row, *_ in points],
                "color": [color if row.rounded_to else "#FFFFFF" for row, *_ in points],
            },
        },
        hovertext=texts,
        hoverinfo="text",
        customdata=[row.id for row, *_ in points],
    )


def _points(rows: Sequence[ResultRow], cost: Measure, quality: Measure) -> list[Any]:
    points = [(row, cost.of(row), quality.of(row)) for row in rows]
    both = [(row, paid, gained) for row, paid, gained in points if paid is not None and gained is not None]
    return [(row, *two) for row, *two in both if not row.rounded_to or not _is_beyond_use(quality, two[1])]


def _is_beyond_use(quality: Measure, figure: Quantity) -> bool:
    """Whether rounding destroyed a model: an axis that shows how far shows nothing else."""
    return quality.kind is Kind.RATIO and quality.lower_is_better and figure.value > ROUNDED_UP_TO


def _harm(measure: Measure, figure: Quantity) -> float:
    return figure.value if measure.lower_is_better else -figure.value


def _bars(measure: Measure, figures: Sequence[Quantity]) -> dict[str, object] | None:
    if all(figure.low is None or figure.high is None for figure in figures):
        return None
    unit = _unit(measure)
    return {
        "type": "data",
        "symmetric": False,
        "array": [math.nan if f.high is None else unit * (f.high - f.value) for f in figures],
        "arrayminus": [math.nan if f.low is None else unit * (f.value - f.low) for f in figures],
        "color": NEUTRAL,
        "thickness": 1,
    }


def _unit(measure: Measure) -> int:
    return 100 if measure.kind is Kind.PERCENT else 1


def _axis(measure: Measure) -> dict[str, object]:
    return {**PER_HUNDRED} if measure.kind is Kind.PERCENT else {}


def _written(measure: Measure, figure: Quantity) -> str:
    return {Kind.PERCENT: percent(figure.value), Kind.COUNT: f"{figure.value:,.0f}"}.get(
        measure.kind, f"{figure.value:.3f}" if measure.kind is Kind.RATIO else f"{figure.value:,.2f}"
    )
