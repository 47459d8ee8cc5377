"""Two bars with their intervals, dense above compressed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from engine.report._svg import drawing, element

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.columns import Quantity

WIDTH, HEIGHT = 260.0, 34.0


def paired_bars(dense: Quantity | None, compressed: Quantity, top: float, label: str) -> Markup:
    """Return bars on a scale from 0 to ``top``; thin lines are intervals."""
    rows = [("bar-dense", dense), ("bar-own", compressed)]
    parts = [_bar(kind, figure, 4.0 + 15.0 * place, top) for place, (kind, figure) in enumerate(rows) if figure]
    return drawing(WIDTH, HEIGHT, label, *parts)


def scale_top(figures: Sequence[Quantity | None]) -> float:
    """Return an end of the scale that holds every interval: the next tenth."""
    highest = max((figure.high or figure.value for figure in figures if figure is not None), default=1.0)
    return next((tenth / 10 for tenth in range(1, 11) if tenth / 10 >= highest), 1.0)


def _bar(kind: str, figure: Quantity, y: float, top: float) -> Markup:
    def x(value: float) -> float:
        return WIDTH * min(max(value / top, 0.0), 1.0)

    bar = element("rect", x=0, y=y, width=x(figure.value), height=11, rx=2, class_=kind)
    if figure.low is None or figure.high is None:
        return bar
    low, high = x(figure.low), x(figure.high)
    ends = [element("line", x1=end, x2=end, y1=y + 2.5, y2=y + 8.5, class_="whisker") for end in (low, high)]
    return Markup("").join([bar, element("line", x1=low, x2=high, y1=y + 5.5, y2=y + 5.5, class_="whisker"), *ends])
