"""The tables beside the comparison of methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.widgets import columns
from engine.results.words import TIMES

if TYPE_CHECKING:
    import pandas as pd

_number = st.column_config.NumberColumn
_SHARES = {"kept": columns.KEPT}


def methods_frame(table: pd.DataFrame, *, perplexity_of: str) -> None:
    """Show :func:`app.tables.methods`; ``perplexity_of`` says on which text the dense perplexity is known."""
    st.dataframe(
        columns.in_percent(table, _SHARES),
        hide_index=True,
        placeholder="–",
        column_order=[
            *("method", "kept", "params", "mb", "mb_delta", "predicted_ratio", "predicted_delta"),
            *("predicted_low", "predicted_high", "predicted", "measured_ratio"),
        ],
        column_config={
            "method": "Method",
            "kept": columns.KEPT,
            "params": _number(
                "Parameters", format="localized", help="In the projections; each costs one multiply-add per token."
            ),
            "mb": columns.MB,
            "mb_delta": _number("\u0394 MB", format="%+.1f", help="Difference from the baseline."),
            "predicted_ratio": columns.PREDICTED,
            "predicted_delta": _number(
                "\u0394 predicted", format=f"%+.3f {TIMES}", help="Difference from the baseline's prediction."
            ),
            "predicted_low": columns.LOW,
            "predicted_high": columns.HIGH,
            "predicted": _number("Predicted perplexity", format="%.2f", help=perplexity_of),
            "measured_ratio": columns.MEASURED,
        },
    )


def quality_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.quality`."""
    st.dataframe(
        columns.in_percent(table, _SHARES),
        hide_index=True,
        placeholder="–",
        column_config={
            "method": "Method",
            "kept": columns.KEPT,
            "predicted_ratio": columns.PREDICTED,
            "predicted_low": columns.LOW,
            "predicted_high": columns.HIGH,
            "measured_ratio": columns.MEASURED,
        },
    )
