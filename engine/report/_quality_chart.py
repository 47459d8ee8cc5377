"""Quality against size: every measured map, this one marked, and what nothing beats."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from engine.report._svg import drawing, element, linear_ticks, log_ticks
from engine.results.palette import OKABE_ITO, method_place
from engine.results.pareto import pareto_front
from engine.results.rounding import ROUNDED_UP_TO
from engine.results.words import TIMES, method_title, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 760.0, 430.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 18.0, 74.0, 52.0
_RATIOS = (1, 1.02, 1.05, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5, 1e6)
_ABOVE = 1e6


@dataclass(frozen=True, slots=True)
class QualityPoint:
    """A measured map, or the dense model.

    Attributes:
        method: as the map says, or ``dense``.
        megabytes: of the whole model.
        ratio: measured perplexity over the dense model's.
        kept_fraction: of the compressible parameters.
        rounded_to: what the weights were rounded to, for people; empty: nothing was rounded.
    """

    method: str
    megabytes: float
    ratio: float
    kept_fraction: float
    rounded_to: str = ""

    @property
    def name(self) -> str:
        """What the point is of: Water-filling, 8 bits."""
        return _name(self.method) + (f", {self.rounded_to}" if self.rounded_to else "")


@dataclass(frozen=True, slots=True)
class OwnPoint:
    """The map the report is about: measured, predicted, or both."""

    megabytes: float
    ratio: float | None
    predicted: float
    low: float
    high: float


class _Scale:
    def __init__(self, points: Sequence[QualityPoint], own: OwnPoint) -> None:
        xs = [p.megabytes for p in points] + [own.megabytes]
        span = max(max(xs) - min(xs), 0.02 * max(xs))
        self.x_low, self.x_high = min(xs) - 0.06 * span, max(xs) + 0.06 * span
        ys = [p.ratio for p in points] + [own.predicted, own.low, own.high, own.ratio or 1.0, 1.1]
        held = [min(max(y, 1e-3), _ABOVE) for y in ys]
        self.y_high = max(held) ** 1.06
        self.y_low = min(*held, 1.0) / self.y_high**0.05

    def x(self, megabytes: float) -> float:
        return LEFT + (megabytes - self.x_low) / (self.x_high - self.x_low) * (WIDTH - LEFT - RIGHT)

    def y(self, ratio: float) -> float:
        part = math.log(min(max(ratio, self.y_low), self.y_high) / self.y_low) / math.log(self.y_high / self.y_low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def quality_chart(points: Sequence[QualityPoint], own: OwnPoint, text: str) -> Markup:
    """Return the drawing: size along, perplexity over dense upwards on a log axis.

    Args:
        points: measured on one text, without training; the dense model among them. Rounded ones beyond use are not
            drawn.
        own: the map the report is about, at a place of its own.
        text: on which everything was measured or predicted.
    """
    points = [p for p in points if not p.rounded_to or p.ratio <= ROUNDED_UP_TO]
    scale = _Scale(points, own)
    methods = sorted({p.method for p in points if p.method != "dense"}, key=lambda m: method_place(method_title(m)))
    label = f"Perplexity over the dense model's on {text}, against the size of the model"
    return drawing(
        WIDTH,
        HEIGHT,
        label,
        _axes(scale),
        _front(points, scale),
        *(_series(method, points, scale) for method in methods),
        *(_marker("dense", p, scale) for p in points if p.method == "dense"),
        _own(own, scale),
        _legend(methods, with_front=any(p.method != "dense" for p in points), measured=own.ratio is not None),
    )


def _axes(scale: _Scale) -> Markup:
    parts = []
    for tick in linear_ticks(scale.x_low, scale.x_high):
        x = scale.x(tick)
        parts.append(element("line", x1=x, x2=x, y1=TOP, y2=HEIGHT - BOTTOM, class_="grid"))
        parts.append(element("text", f"{tick:g}", x=x, y=HEIGHT - BOTTOM + 18, class_="tick middle"))
    for tick in log_ticks(scale.y_low, scale.y_high, _RATIOS):
        y = scale.y(tick)
        kind = "unharmed" if tick == 1 else "grid"
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=kind))
        parts.append(element("text", f"{tick:g} {TIMES}", x=LEFT - 8, y=y + 4, class_="tick end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        element("text", "Size of the whole model at float16, MB", x=(LEFT + WIDTH) / 2, y=HEIGHT - 10, class_="axis")
    )
    turned = f"rotate(-90 16 {middle:g})"
    parts.append(element("text", "Perplexity ÷ dense (log)", x=16, y=middle, transform=turned, class_="axis"))
    return Markup("").join(parts)


def _series(method: str, points: Sequence[QualityPoint], scale: _Scale) -> Markup:
    own = sorted((p for p in points if p.method == method), key=lambda p: p.megabytes)
    path = " ".join(f"{scale.x(p.megabytes):.1f},{scale.y(p.ratio):.1f}" for p in own if not p.rounded_to)
    line = element("polyline", points=path, fill="none", stroke=_color(method), class_="series")
    return line + Markup("").join(_marker(method, p, scale) for p in own)


def _marker(method: str, point: QualityPoint, scale: _Scale) -> Markup:
    words = f"{point.name}: {percent(point.kept_fraction)} kept, {point.megabytes:.1f} MB, {point.ratio:.3f} {TIMES}"
    x, y = scale.x(point.megabytes), scale.y(point.ratio)
    marker = shape(method, x, y, 5.0, element("title", words))
    if not point.rounded_to:
        return marker
    bits = element("text", point.rounded_to.removesuffix(" bits"), x=x + 9, y=y + 4, class_="tick")
    return element("g", marker, bits, class_="rounded", stroke=_color(method))


def shape(method: str, x: float, y: float, size: float, *content: str) -> Markup:
    """Return a method's marker, which differs in form as well as in colour."""
    place = method_place(method_title(method)) if method != "dense" else 6
    style: dict[str, str | float] = {"fill": _color(method), "class_": "marker"}
    if place == 1:
        return element("rect", *content, x=x - size, y=y - size, width=2 * size, height=2 * size, **style)
    corners = {
        2: ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
        3: ((0, -1.25), (1.2, 0.95), (-1.2, 0.95)),
        4: ((0, 1.25), (1.2, -0.95), (-1.2, -0.95)),
        5: ((0, -1.3), (1.25, -0.4), (0.8, 1.1), (-0.8, 1.1), (-1.25, -0.4)),
    }.get(place)
    if corners is None:
        return element("circle", *content, cx=x, cy=y, r=size, **style)
    path = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in corners)
    return element("polygon", *content, points=path, **style)


def _front(points: Sequence[QualityPoint], scale: _Scale) -> Markup:
    front = pareto_front([(p.megabytes, p.ratio) for p in points])
    best = sorted((p for p, is_best in zip(points, front, strict=True) if is_best), key=lambda p: p.megabytes)
    path = " ".join(f"{scale.x(p.megabytes):.1f},{scale.y(p.ratio):.1f}" for p in best)
    return element("polyline", points=path, class_="front")


def _own(own: OwnPoint, scale: _Scale) -> Markup:
    x, low, high = scale.x(own.megabytes), scale.y(own.low), scale.y(own.high)
    parts = [
        element("line", x1=x, x2=x, y1=low, y2=high, class_="interval"),
        *(element("line", x1=x - 6, x2=x + 6, y1=y, y2=y, class_="interval") for y in (low, high)),
        element("circle", cx=x, cy=scale.y(own.predicted), r=4.5, class_="predicted"),
    ]
    there = own.predicted if own.ratio is None else own.ratio
    if own.ratio is not None:
        parts.append(element("circle", cx=x, cy=scale.y(own.ratio), r=11, class_="own"))
    on_right = x > (LEFT + WIDTH) / 2
    place = {"x": x - 17 if on_right else x + 17, "class_": "own-label end" if on_right else "own-label"}
    words = f"this model: {there:.3g} {TIMES}" + ("" if own.ratio is not None else ", predicted")
    parts.append(element("text", words, y=scale.y(there) + (22 if on_right else -12), **place))
    return Markup("").join(parts)


def _legend(methods: Sequence[str], *, with_front: bool, measured: bool) -> Markup:
    parts, x, y = [], LEFT, 16.0

    def entry(symbol: Markup, words: str) -> None:
        nonlocal x, y
        width = 22 + 7.1 * len(words) + 18
        if x + width > WIDTH - RIGHT and x > LEFT:
            x, y = LEFT, y + 22
        moved = f"translate({x:g} {y:g})"
        parts.append(element("g", symbol, element("text", words, x=22, y=4, class_="legend"), transform=moved))
        x += width

    for method in ("dense", *methods):
        entry(shape(method, 9.0, 0.0, 5.0), _name(method))
    if measured:
        entry(element("circle", cx=9, cy=0, r=7, class_="own"), "this model, measured")
    predicted = element("line", x1=9, x2=9, y1=-8, y2=8, class_="interval") + element(
        "circle", cx=9, cy=0, r=4, class_="predicted"
    )
    entry(predicted, "predicted, 90 % interval")
    if with_front:
        entry(element("line", x1=0, x2=18, y1=0, y2=0, class_="front"), "nothing measured is smaller and better")
    return Markup("").join(parts)


def _name(method: str) -> str:
    return "dense model" if method == "dense" else method_title(method)


def _color(method: str) -> str:
    return "currentColor" if method == "dense" else OKABE_ITO[method_place(method_title(method))]
