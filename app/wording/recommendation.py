"""The Overview's recommendation as a sentence; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.results.words import TIMES, megabytes, method_title, percent

if TYPE_CHECKING:
    from app.costed_maps import CostedMap


def recommended(costed: CostedMap, ratio: float, fine_ratio: float, *, is_measured: bool) -> str:
    """Return which size is recommended, and by which rule."""
    size = megabytes(costed.cost.bytes_at("float16"))
    how = "measured" if is_measured else "predicted"
    return (
        f"**Recommended: {size}** with {method_title(costed.method)}, {percent(costed.cost.kept_fraction)} kept, "
        f"perplexity {change(ratio)} ({how}). Rule: {_rule(fine_ratio)}."
    )


def not_recommended(fine_ratio: float) -> str:
    """Return that no size satisfies the rule."""
    return f"**No recommendation:** no map is measured or predicted to satisfy the rule, {_rule(fine_ratio)}."


def _rule(fine_ratio: float) -> str:
    return f"the smallest whose perplexity is at most {percent(fine_ratio - 1, 0)} above the dense model's"


def change(ratio: float) -> str:
    """Return by how much a perplexity is larger than the dense model's: +18 %, 2.3 \u00d7."""
    if not ratio < 2:
        return f"{ratio:.1f} {TIMES}" if ratio <= 1000 else f"> 1000 {TIMES}"
    if abs(ratio - 1) < 0.0005:
        return "unchanged"
    sign = "+" if ratio > 1 else "\u2212"
    return sign + percent(abs(ratio - 1), 1 if abs(ratio - 1) < 0.0995 else 0)
