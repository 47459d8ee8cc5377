"""A rank map as colours: layers along, kinds of projections downwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markupsafe import Markup

from engine.rank_map.difference import decisions
from engine.report._svg import drawing, element
from engine.results.words import percent
from engine.types import Format

if TYPE_CHECKING:
    from engine.rank_map.difference import Decision
    from engine.rank_map.document import RankMap
    from engine.types import Inventory, Projection

WIDTH, LEFT, TOP = 760.0, 64.0, 26.0
ROW = 26.0
_ANCHORS = ((0, 34, 78), (53, 69, 108), (102, 105, 112), (148, 142, 119), (200, 184, 102), (254, 232, 56))
"""Of the colour map cividis (Nunez, Anderton & Renslow 2018), which reads the same to the colour-blind."""


def kept_color(fraction: float) -> str:
    """Return the colour of a kept fraction from 0 to 1."""
    place = min(max(fraction, 0.0), 1.0) * (len(_ANCHORS) - 1)
    index = min(int(place), len(_ANCHORS) - 2)
    part = place - index
    mixed = (round(a + (b - a) * part) for a, b in zip(_ANCHORS[index], _ANCHORS[index + 1], strict=True))
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def rank_map_chart(rank_map: RankMap, inventory: Inventory) -> Markup:
    """Return the drawing; a cell's colour is the kept fraction of its parameters, dense ones are hatched."""
    decided = decisions(rank_map, inventory)
    kinds = list(dict.fromkeys(p.kind for p in inventory.projections))
    layers = sorted({p.layer for p in inventory.projections})
    step = (WIDTH - LEFT - 4) / len(layers)
    parts = [_hatch()]
    for p in inventory.projections:
        decision = decided[p.name]
        dense = decision.rank is None
        kept = decision.params / p.params
        what = "dense" if dense else _what(decision, p, inventory)
        parts.append(
            element(
                "rect",
                element("title", f"Layer {p.layer}, {p.kind}: {what}, {percent(kept, 0)} of its parameters"),
                x=LEFT + layers.index(p.layer) * step,
                y=TOP + kinds.index(p.kind) * ROW,
                width=step - min(1.5, 0.15 * step),
                height=ROW - 1.5,
                fill="url(#dense)" if dense else kept_color(kept),
            )
        )
    for index, kind in enumerate(kinds):
        parts.append(element("text", kind, x=LEFT - 8, y=TOP + (index + 0.5) * ROW + 4, class_="tick end"))
    every = next(n for n in (1, 2, 5, 10, 20, 50, 100) if n * step >= 22)
    for layer in layers[::every]:
        place = LEFT + (layers.index(layer) + 0.5) * step
        parts.append(element("text", str(layer), x=place, y=TOP - 8, class_="tick middle"))
    parts.append(element("text", "layer", x=LEFT - 8, y=TOP - 8, class_="tick end"))
    bottom = TOP + len(kinds) * ROW
    return drawing(
        WIDTH, bottom + 46, "Kept fraction of every projection, by layer and kind", *parts, _key(bottom + 12)
    )


def _what(decision: Decision, projection: Projection, inventory: Inventory) -> str:
    if decision.format is Format.WIDTH:
        neurons = next(mlp.neurons for mlp in inventory.mlps if projection in mlp.members)
        return f"{decision.rank} of {neurons} neurons"
    return f"rank {decision.rank} of {min(projection.out_features, projection.in_features)}, {decision.format}"


def _hatch() -> Markup:
    lines = element("path", d="M0 6 L6 0", class_="hatch")
    ground = element("rect", width=6, height=6, class_="dense-cell")
    pattern = element("pattern", ground, lines, id="dense", width=6, height=6, patternUnits="userSpaceOnUse")
    return element("defs", pattern)


def _key(y: float) -> Markup:
    cells = [
        element("rect", x=LEFT + 6.0 * i, y=y, width=6.2, height=12, fill=kept_color((i + 0.5) / 40)) for i in range(40)
    ]
    ends = [
        element("text", words, x=LEFT + 240.0 * part, y=y + 27, class_="tick middle")
        for words, part in (("0 %", 0.0), ("50 %", 0.5), ("100 %", 1.0))
    ]
    words = element("text", "of the projection's parameters kept", x=LEFT + 252, y=y + 10, class_="legend")
    dense = element("rect", x=LEFT + 520, y=y - 1, width=14, height=14, fill="url(#dense)")
    return Markup("").join(
        [*cells, *ends, words, dense, element("text", "dense", x=LEFT + 541, y=y + 10, class_="legend")]
    )
