"""What a compression does to a model, in words for people who do not work on language models; free of Streamlit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.results.words import TIMES, percent

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.types import Inventory


def headline(
    costed: CostedMap, inventory: Inventory, predicted: tuple[float, float, float], measured: float | None, text: str
) -> str:
    """Return one sentence: how much smaller, and how much harm.

    Args:
        costed: the map.
        inventory: of its model.
        predicted: perplexity over dense, with the ends of its 90 % interval.
        measured: perplexity over dense, where exactly this map was measured.
        text: of which both are.
    """
    smaller = 1 - costed.cost.model_params / inventory.total_params
    size = f"**{percent(smaller, 0)} smaller**" if round(100 * smaller) >= 1 else "**Hardly smaller**"
    if measured is not None:
        return f"{size}, and **{uncertainty(measured)}** about the next word of {text}, as measured."
    estimate, low, high = predicted
    between = f"likely between {_more(low)} and {_more(high)}"
    return f"{size}, and roughly **{uncertainty(estimate)}** about the next word of {text}: a prediction, {between}."


def uncertainty(perplexity_ratio: float) -> str:
    """Return how much more uncertain a model is whose perplexity is so many times the dense one's."""
    if abs(perplexity_ratio - 1) < 0.0005:
        return "no more uncertain"
    if perplexity_ratio < 1:
        return f"{percent(1 - perplexity_ratio)} less uncertain"
    if perplexity_ratio < 2:
        return f"{_more(perplexity_ratio)} more uncertain"
    return f"{_more(perplexity_ratio)} as uncertain"


def _more(perplexity_ratio: float) -> str:
    if perplexity_ratio >= 2:
        return f"{perplexity_ratio:.1f} {TIMES}" if perplexity_ratio <= 1000 else f"more than 1000 {TIMES}"
    more = perplexity_ratio - 1
    return percent(more, 0 if abs(more) >= 0.1 else 1)
