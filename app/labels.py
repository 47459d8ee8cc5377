"""Names and numbers as people read them; free of Streamlit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from engine.presets import PRESETS
from engine.types import Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.types import Projection

METRICS: Final[Mapping[Metric, str]] = {
    Metric.WEIGHT: "Weight: the matrix itself",
    Metric.INPUT: "Input: weighted by what the projection reads",
    Metric.FEATURE: "Feature: of what the projection puts out",
    Metric.LOSS: "Loss: weighted by what changes the model's loss",
}
FORMATS: Final[Mapping[Format, str]] = {
    Format.DENSE: "dense",
    Format.LOW_RANK: "low-rank",
    Format.CAT: "cat (shared)",
    Format.SKIP: "skip",
    Format.SKIP_CAT: "skip+cat (shared)",
}
TIMES: Final = "\u00d7"
"""The multiplication sign."""

_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~$:&])")


def plain(text: str) -> str:
    """Return text from outside so that Markdown shows it as it is: no links, images, colours or formulas."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))


def method_title(method: str) -> str:
    """Return the name of a method; one that is no preset keeps the name it was given."""
    return PRESETS[method].title if method in PRESETS else method


def projection_label(projection: Projection) -> str:
    """Return the short name of a projection, such as ``L3 q``."""
    return f"L{projection.layer} {projection.kind}"


def block_label(members: Sequence[str], projections: Mapping[str, Projection]) -> str:
    """Return the short name of a block, such as ``L3 q+k+v``."""
    first, *_ = found = [projections[name] for name in members]
    return f"L{first.layer} " + "+".join(p.kind for p in found)


def percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction as a percentage."""
    return f"{100 * fraction:.{digits}f} %"


def calibrated(n_runs: int) -> str:
    """Return on how much a prediction rests."""
    if n_runs == 0:
        return "from the analysis alone: no map was measured on this text yet, so the interval is wide"
    return f"calibrated on {n_runs} measured map{'s' if n_runs > 1 else ''}"


def count(number: float) -> str:
    """Return a count with three digits and a unit: 134.5 M."""
    for size, unit in ((1e9, " B"), (1e6, " M"), (1e3, " k")):
        if number >= size:
            return f"{number / size:.4g}{unit}"
    return f"{number:.0f}"


def megabytes(n_bytes: float) -> str:
    """Return a size in MB, or GB from one upwards."""
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def duration(seconds: float) -> str:
    """Return a time as two units at most: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole < 600 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ratio(value: float) -> str:
    """Return how many times something is."""
    if value > 1000:
        return f"> 1000 {TIMES}"
    return f"{value:.3f} {TIMES}" if value < 10 else f"{value:.1f} {TIMES}"


REFINEMENTS = {"corrected": "corrected, no training", "trained": "trained"}
"""Kinds of refinement, for people."""
