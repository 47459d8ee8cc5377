"""Drawing: SVG elements as escaped text, scales and ticks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence


def element(name: str, *content: str, **attributes: str | float) -> Markup:
    """Return an element; text and attributes are escaped, a trailing or inner ``_`` in a name is ``-``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(escape(c) for c in content))


def drawing(width: float, height: float, label: str, *content: str) -> Markup:
    """Return a drawing that scales with the page and reads as ``label`` to those who do not see it."""
    box = f"0 0 {width:g} {height:g}"
    return element("svg", element("title", label), *content, viewBox=box, role="img", class_="drawing")


def linear_ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Return round numbers within a range, about as many as asked."""
    raw = (high - low) / max(about, 1)
    if raw <= 0:
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw)
    return [step * i for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def log_ticks(low: float, high: float, steps: Sequence[float], room: float = 1 / 9) -> list[float]:
    """Return those of ``steps`` within a range that are a share ``room`` of it apart on a log axis; 1 always."""
    gap = room * math.log10(high / low)
    found: list[float] = []
    for tick in sorted(steps):
        near = found and math.log10(tick / found[-1]) < gap
        if low <= tick <= high and not near:
            found.append(tick)
    return found


def _number(value: str | float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
