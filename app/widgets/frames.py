"""Tables that several pages or long columns need: each number says what it is a fraction of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.wording.labels import TIMES

if TYPE_CHECKING:
    import pandas as pd

_number = st.column_config.NumberColumn
_KEPT = _number("Kept", format="percent", help="Fraction of the compressible parameters.")
_MB = _number("MB", format="%.1f", help="Whole model at float16, column orders included.")
_PARAMS = _number("Parameters", format="localized", help="In the projections: one multiply-add per token each.")
_PREDICTED = _number(
    "Predicted ÷ dense", format=f"%.3f {TIMES}", help="Predicted perplexity over that of the dense model."
)
_LOW = _number("at least", format=f"%.3f {TIMES}", help="Nine cases in ten lie between this and the next column.")
_HIGH = _number("at most", format=f"%.3f {TIMES}", help="Nine cases in ten lie below this and above the column before.")
_MEASURED = _number(
    "Measured ÷ dense", format=f"%.3f {TIMES}", help="Measured perplexity over that of the dense model."
)
_DIVERGENCE = _number("Divergence", format="%.4f", help="KL divergence from the dense model, nats per token.")
_AGREEMENT = _number("Same top token", format="percent", help="Share of positions where both models agree.")


def methods_frame(table: pd.DataFrame, *, perplexity_of: str) -> None:
    """Show :func:`app.tables.methods`; ``perplexity_of`` says on which text the dense perplexity is known."""
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_order=[
            *("method", "kept", "params", "mb", "predicted_ratio", "predicted_low", "predicted_high"),
            *("predicted", "measured_ratio"),
        ],
        column_config={
            "method": "Method",
            "kept": _KEPT,
            "params": _PARAMS,
            "mb": _MB,
            "predicted_ratio": _PREDICTED,
            "predicted_low": _LOW,
            "predicted_high": _HIGH,
            "predicted": _number("Predicted perplexity", format="%.2f", help=perplexity_of),
            "measured_ratio": _MEASURED,
        },
    )


def quality_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.quality`."""
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={
            "method": "Method",
            "kept": _KEPT,
            "predicted_ratio": _PREDICTED,
            "predicted_low": _LOW,
            "predicted_high": _HIGH,
            "measured_ratio": _MEASURED,
        },
    )


def comparison_frame(table: pd.DataFrame, *, text: str, other_text: str | None) -> None:
    """Show :func:`app.tables.comparison`."""
    other = [] if other_text is None else ["other_ratio"]
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_order=[
            *("target", "method", "kept", "mb", "ratio", "predicted_ratio", "predicted_low", "predicted_high"),
            *(*other, "agreement", "search_s"),
        ],
        column_config={
            "target": _number("Budget", format="percent", help="Kept fraction that was allowed."),
            "method": "Method",
            "kept": _KEPT,
            "mb": _MB,
            "ratio": _number("Measured ÷ dense", format=f"%.3f {TIMES}", help=f"Perplexity over dense, on {text}."),
            "predicted_ratio": _PREDICTED,
            "predicted_low": _LOW,
            "predicted_high": _HIGH,
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
        table,
        hide_index=True,
        column_order=["method", "refined", "kept", "mb", "perplexity", "ratio", "divergence", "agreement", "text"],
        column_config={
            "method": "Method",
            "refined": "Factors",
            "kept": _KEPT,
            "mb": _MB,
            "perplexity": _number("Perplexity", format="%.3f"),
            "ratio": _MEASURED,
            "divergence": _DIVERGENCE,
            "agreement": _AGREEMENT,
            "text": "Measured on",
        },
    )


def saved_maps_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.saved_maps`."""
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "name": "Saved map",
            "kept": _KEPT,
            "method": "Method",
            "metric": "Metric",
            "created": st.column_config.DatetimeColumn("Saved at"),
        },
    )


def difference_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.difference`."""
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "block": "Projection",
            "layer": "Layer",
            "kind": "Kind",
            "before": "Rank before",
            "after": "Rank after",
            "gained": _number("Parameters gained", format="localized", help="Negative: given away."),
            "share": _number("of dense", format="percent", help="Fraction of the projection's dense parameters."),
        },
    )


def stages_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.stages`."""
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={
            "first": _number("From token", help="The first token that this budget produces."),
            "budget": _number("Budget", format="percent", help="Kept fraction that was allowed."),
            "active": _number("Active", format="percent", help="Share of the compressible parameters that ran."),
        },
    )


def inventory_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.shapes` or :func:`app.tables.skipped`."""
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "share of the model": _number(format="percent", help="Of all parameters, embeddings included."),
            "parameters": _number(format="localized"),
        },
    )


def plain_frame(table: pd.DataFrame, columns: dict[str, str]) -> None:
    """Show chosen columns under the given titles."""
    st.dataframe(table[list(columns)].rename(columns=columns), hide_index=True, placeholder="–")
