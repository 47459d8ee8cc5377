"""Part of Spectra: the chosen blocks' spectra with their marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import charts, tables
from app.widgets.pickers import option_picker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from app.views.spectra.comparison import Other

_TITLES: Final = {
    "sigma": "singular value, over the block's largest",
    "kept": "share of the block's energy kept",
    "lost": "share of the block's energy lost",
}
_HELP: Final = (
    "Singular values: how much each further rank adds. Energy is their squares: what a block keeps, or loses, when it "
    "is cut to a rank."
)
_AXES: Final = {
    "height": "Log height",
    "rank": "Log ranks",
    "relative": "Ranks over full rank",
    "kind": "Rest of a kind",
}
ALL: Final = "all"
"""Stands for the lines of every projection, where a quantity could stand."""

HEADS: Final = "heads"
"""Stands for attention heads there."""

_AT_FIRST: Final = {"sigma": ["height", "rank"], "kept": [], "lost": ["height"]}


def choose_lines() -> tuple[str, list[str]]:
    """Ask what lines show and how they are drawn."""
    quantities = {**tables.QUANTITIES, ALL: "Energy lost by all", HEADS: "Attention heads"}
    quantity = option_picker("Lines", quantities, key="lines", help_text=_HELP, in_url=True)
    if quantity in {ALL, HEADS}:
        return quantity, []
    with st.popover("Axes"):
        axes = st.pills(
            "Axes",
            list(_AXES),
            selection_mode="multi",
            default=_AT_FIRST[quantity],
            format_func=_AXES.__getitem__,
            key=f"axes-{quantity}",
            bind="query-params",
        )
    return quantity, axes


def show_lines(
    energies: Mapping[str, NDArray[np.float64]],
    table: pd.DataFrame,
    picked: Sequence[str],
    marks: Mapping[str, str],
    quantity: str,
    axes: Sequence[str],
    other: Other | None,
) -> None:
    """Draw the picked blocks.

    Args:
        energies: block name -> (k,) squared singular values, descending.
        table: of every block, as :func:`app.tables.spectra` returns it.
        picked: names of blocks.
        marks: column of the table with ranks -> what they are called.
        quantity: of :data:`app.tables.QUANTITIES`.
        axes: what was chosen of how lines are drawn.
        other: whose lines are drawn beside.
    """
    if not picked:
        st.info("Click cells of the heatmap to draw their spectra.", icon=":material/touch_app:")
        return
    labels: dict[str, str] = dict(zip(table["name"], table["block"], strict=True))
    lines = _lines(energies, labels, picked, quantity)
    kinds = set(table.loc[table["name"].isin(picked), "kind"]) if "kind" in axes else set()
    rest = table.loc[table["kind"].isin(kinds) & ~table["name"].isin(picked), "name"]
    figure = charts.spectra(
        lines,
        table,
        charts.Axes(_TITLES[quantity], "height" in axes, "rank" in axes, "relative" in axes),
        marks,
        _lines(energies, labels, rest, quantity),
        None if other is None else (other.title, _lines(other.energies, labels, picked, quantity)),
    )
    title = f"{_TITLES[quantity]} by rank, for {', '.join(lines.columns)}"
    st.plotly_chart(figure, key="spectra.lines", config=charts.chart_config("spectra"), alt=title)
    with st.expander("Table of the drawn lines"):
        st.dataframe(lines.reset_index(), hide_index=True, placeholder="", key="spectra.numbers")
        st.download_button("Download as CSV", lines.to_csv(), "spectra.csv", "text/csv", icon=":material/download:")


def _lines(
    energies: Mapping[str, NDArray[np.float64]], labels: Mapping[str, str], names: Iterable[str], quantity: str
) -> pd.DataFrame:
    return tables.spectrum_lines({labels[name]: energies[name] for name in names if name in energies}, quantity)
