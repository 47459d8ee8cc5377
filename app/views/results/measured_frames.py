"""Tables of what was measured of every method, and with refined factors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.widgets import columns
from engine.results.words import TIMES

if TYPE_CHECKING:
    import pandas as pd

_number = st.column_config.NumberColumn
_AGREEMENT = columns.share("Same top token", help_text="Share of positions where both models agree.")
_BUDGET = columns.share("Budget", help_text="Kept fraction that was allowed.")
_SHARES = {"target": _BUDGET, "kept": columns.KEPT, "agreement": _AGREEMENT}


def comparison_frame(table: pd.DataFrame, *, text: str, other_text: str | None) -> None:
    """Show :func:`app.tables.comparison`."""
    other = [] if other_text is None else ["other_ratio"]
    st.dataframe(
        columns.in_percent(table, _SHARES),
        hide_index=True,
        placeholder="–",
        column_order=[
            *("target", "method", "kept", "mb", "ratio", "predicted_ratio", "predicted_low", "predicted_high"),
            *(*other, "agreement", "search_s"),
        ],
        column_config={
            "target": _BUDGET,
            "method": "Method",
            "kept": columns.KEPT,
            "mb": columns.MB,
            "ratio": _number("Measured ÷ dense", format=f"%.3f {TIMES}", help=f"Perplexity over dense, on {text}."),
            "predicted_ratio": columns.PREDICTED,
            "predicted_low": columns.LOW,
            "predicted_high": columns.HIGH,
            "other_ratio": _number(
                "Other text ÷ dense", format=f"%.3f {TIMES}", help=f"Perplexity over dense, on {other_text}."
            ),
            "agreement": _AGREEMENT,
            "search_s": _number(
                "Search, s", format="%.2f", help="Choosing the ranks, after the analysis that all methods share."
            ),
        },
    )


def refined_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.refined`."""
    st.dataframe(
        columns.in_percent(table, _SHARES),
        hide_index=True,
        column_order=["method", "refined", "kept", "mb", "perplexity", "ratio", "divergence", "agreement", "text"],
        column_config={
            "method": "Method",
            "refined": "Factors",
            "kept": columns.KEPT,
            "mb": columns.MB,
            "perplexity": _number("Perplexity", format="%.3f"),
            "ratio": columns.MEASURED,
            "divergence": _number("Divergence", format="%.4f", help="From the dense model: KL, nats per token."),
            "agreement": _AGREEMENT,
            "text": "Measured on",
        },
    )
