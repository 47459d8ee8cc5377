"""Names and numbers as people read them, in the dashboard and in reports; free of torch."""

from __future__ import annotations

from typing import Final

from engine.methods.presets import PRESETS

TIMES: Final = "\u00d7"
"""The multiplication sign."""

REFINEMENTS: Final = {"corrected": "corrected, no training", "trained": "trained"}
"""Kinds of refinement, for people."""

TASKS: Final = {
    "demo_piqa": ("PIQA (demo)", "Everyday physics: which of two ways reaches a goal."),
    "demo_openbookqa": ("OpenBookQA (demo)", "Elementary science with four choices."),
    "demo_commonsenseqa": ("CommonsenseQA (demo)", "Common sense with five choices."),
    "demo_boolq": ("BoolQ (demo)", "Yes or no about a passage."),
}
"""Task -> what it is called and what it asks, for people; the demo's items are reformatted, which the name says."""


def method_title(method: str) -> str:
    """Return the name of a method; one that is no preset keeps the name it was given."""
    return PRESETS[method].title if method in PRESETS else method


def percent(fraction: float, digits: int = 1) -> str:
    """Return a fraction as a percentage."""
    return f"{100 * fraction:.{digits}f} %"


def calibrated(n_runs: int) -> str:
    """Return on how much a prediction rests."""
    if n_runs == 0:
        return "from the analysis alone: no map was measured on this text yet, so the interval is wide"
    return f"calibrated on {counted(n_runs, 'measured map')}"


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 map, 3 maps."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"


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


def unambiguous(short: list[str], long: list[str]) -> list[str]:
    """Return the short names, with what is in the long ones where several would be the same."""
    names = [b if short.count(a) > 1 else a for a, b in zip(short, long, strict=True)]
    return [f"{name} ({names[:i].count(name) + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]
