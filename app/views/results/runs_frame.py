"""The table of measured maps, whose columns depend on what was measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.widgets import columns
from engine.results.columns import Kind
from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd
    from streamlit.elements.lib.column_types import ColumnConfig

    from engine.results.columns import Measure

_FORMATS: Mapping[Kind, str] = {
    Kind.RATIO: f"%.3f {TIMES}",
    Kind.NUMBER: "%.2f",
    Kind.PERCENT: columns.PERCENT,
    Kind.MB: "%.1f",
    Kind.COUNT: "localized",
}
_ENDS = (("stderr", "±", "One standard error of the column before."),)
_INTERVAL = (("low", "at least", "Lower end of the interval."), ("high", "at most", "Upper end of the interval."))


def runs_frame(table: pd.DataFrame, measures: Sequence[Measure], *, on_select: Callable[[], None]) -> None:
    """Show :func:`app.tables.runs` with the columns of ``measures``, uncertainties beside their numbers."""
    number = st.column_config.NumberColumn
    present = set(table.columns)
    config: dict[str, ColumnConfig | str | None] = {"method": st.column_config.TextColumn("Method", pinned=True)}
    config |= {field: title for field, title in (("name", "Name"), ("note", "Note")) if field in present}
    for measure in measures:
        config[measure.name] = number(measure.title, format=_FORMATS[measure.kind], help=measure.about)
        if f"{measure.name}_delta" in present:
            about = f"{measure.title}: difference from the baseline."
            config[f"{measure.name}_delta"] = number("\u0394", format=_FORMATS[measure.kind], help=about)
        for end, title, about in _ENDS if f"{measure.name}_stderr" in present else _INTERVAL:
            name = f"{measure.name}_{end}"
            if name in present:
                config[name] = number(title, format=_FORMATS[measure.kind], help=f"{about} {measure.about}")
    st.dataframe(
        columns.in_percent(table, config),
        hide_index=True,
        placeholder="–",
        column_order=list(config),
        column_config=config,
        key="runs",
        on_select=on_select,
        selection_mode="multi-row",
    )


def differences_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.differences`."""
    config: columns.Columns = {
        "score": "Score",
        "run": "Run",
        "difference": columns.share("Minus dense", help_text="Mean difference, paired by item."),
        "low": columns.share("at least", help_text="Lower end of its 95 % bootstrap interval."),
        "high": columns.share("at most", help_text="Upper end of its 95 % bootstrap interval."),
        "settled": st.column_config.TextColumn("Verdict", help="Not significant: the interval contains 0."),
    }
    st.dataframe(columns.in_percent(table, config), hide_index=True, column_config=config)


def provenance_frame(table: pd.DataFrame) -> None:
    """Show :func:`app.tables.provenance`."""
    st.dataframe(
        table,
        hide_index=True,
        placeholder="–",
        column_config={
            "run": "Run",
            "what": "Number",
            "on": "Measured on",
            "how": "How",
            "when": "When (UTC)",
            "data": st.column_config.TextColumn("Data", help="Start of the fingerprint of the text or the items."),
            "artifact": "Artifact",
            "model": st.column_config.TextColumn("Model", help="Start of its fingerprint, and its revision."),
            "versions": "Versions",
        },
    )
