"""The bar that says what a heatmap's colours mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from app.charts.style import PER_HUNDRED, TEXT

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MOST_ORDERS: Final = 5
"""Of ten between the ends of a logarithmic scale; what is smaller has the colour of its lower end."""

_MOST_TICKS: Final = 6


def spans_orders(values: NDArray[np.float64]) -> bool:
    """Whether the positive values lie more than two orders of ten apart, so that evenly spread colours hide most."""
    positive = values[np.isfinite(values) & (values > 0)]
    return bool(len(positive)) and float(positive.max() / positive.min()) > 100


def log_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return colour limits around the positive values, at most five orders of ten apart."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return 0.1, 1.0
    high = float(positive.max())
    return max(float(positive.min()), high * 10**-_MOST_ORDERS) * 0.999, high


def colour_bar(title: str, powers: tuple[float, float] | None, *, percent: bool) -> dict[str, object]:
    """Return plotly's settings of a bar below a heatmap.

    Args:
        title: above the bar.
        powers: the ends of a logarithmic scale, as powers of ten; ``None``: the scale is linear.
        percent: whether values are percentages.
    """
    bar: dict[str, object] = {
        "orientation": "h",
        "thickness": 10,
        "len": 1,
        "x": 0.5,
        "y": 0,
        "yanchor": "top",
        "ypad": 12,
        "title": {"text": title, "side": "top", "font": {"color": TEXT}},
        "tickfont": {"color": TEXT},
        **(PER_HUNDRED if percent else {}),
    }
    if powers is not None:
        ticks = _ticks_between(10 ** powers[0], 10 ** powers[1])
        bar |= {
            "tickvals": list(np.log10(ticks)),
            "ticktext": [_written(tick) + (" %" if percent else "") for tick in ticks],
        }
    return bar


def _ticks_between(low: float, high: float) -> list[float]:
    """Return round numbers, as many as can be read, or both ends where there are none between them."""
    orders = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0**order for order in orders for digit in digits]
        within = [tick for tick in ticks if low <= tick <= high]
        if 2 <= len(within) <= _MOST_TICKS:
            return within
    return [low, 1.0, high] if low < 1 < high else [low, high]


def _written(value: float) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:.3g}"
    digits, _, power = f"{value:.0e}".partition("e")
    factor = "" if digits == "1" else f"{digits}×"
    return f"{factor}10<sup>{int(power)}</sup>"
