"""Small questions: a budget, a kept fraction, one of a few options."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from app.components.rank_board.data import LOWEST_KEEP
from app.components.rank_board.state import chosen_budget, remember_budget
from app.widgets.columns import PERCENT
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal

    from engine.analysis.value import Analysis

Option = TypeVar("Option", bound=str)


def kept_fraction_slider(label: str, *, key: str, default: float, help_text: str) -> float:
    """Ask for a kept fraction from 0.3 to 1.0; kept in the URL."""
    return fraction_slider(label, (0.3, 1.0), default, 0.01, key=key, help_text=help_text)


def fraction_slider(
    label: str,
    ends: tuple[float, float],
    default: float,
    step: float,
    *,
    key: str,
    help_text: str,
    width: int | Literal["stretch"] = "stretch",
) -> float:
    """Ask for a fraction as a percentage; kept in the URL, where earlier versions wrote the fraction itself."""
    named = st.query_params.get(key, "")
    if _is_fraction(named):
        st.session_state[key] = round(100 * float(named), 1)
    low, high, usual, by = (round(100 * value, 1) for value in (*ends, default, step))
    shown = st.slider(
        label, low, high, usual, by, format=PERCENT, key=key, help=help_text, width=width, bind="query-params"
    )
    return round(shown / 100, 3)


def _is_fraction(named: str) -> bool:
    with suppress(ValueError):
        return 0 < float(named) <= 1
    return False


def budget_slider(analysis: Analysis) -> Budget:
    """Ask how much of the compressible parameters may stay: the same budget as the rank board's."""
    chosen = chosen_budget()
    # What was chosen on the board or comes with a link is what the slider shows, unless it was just moved.
    if "budget" not in st.session_state or st.session_state.get("budget.shown") != chosen:
        st.session_state["budget"] = 100 * chosen
    st.slider(
        "Budget: kept fraction of the compressible parameters",
        100 * LOWEST_KEEP,
        100.0,
        step=1.0,
        format=PERCENT,
        key="budget",
        help="A hard limit on all projections together; embeddings and norms are never compressed.",
    )
    moved = st.session_state["budget"]
    kept = chosen if moved == 100 * chosen else round(moved / 100, 3)
    if kept != chosen:
        remember_budget(analysis, kept)
    st.session_state["budget.shown"] = kept
    return Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)


def option_picker(
    label: str,
    options: Mapping[Option, str],
    *,
    key: str,
    default: Option | None = None,
    help_text: str | None = None,
    in_url: bool = False,
) -> Option:
    """Ask for one of a few options, by default the first; kept in the URL if asked."""
    usual = next(iter(options)) if default is None else default
    chosen = st.segmented_control(
        label,
        list(options),
        default=usual,
        required=True,
        format_func=options.__getitem__,
        key=key,
        help=help_text,
        bind="query-params" if in_url else None,
    )
    return chosen if chosen is not None else usual
