"""Part of Spectra: what every projection loses at every rank, a small chart per kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.widgets import columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def show_all(energies: Mapping[str, NDArray[np.float64]], table: pd.DataFrame, marks: Mapping[str, str]) -> None:
    """Draw all projections' lost energy, with a tick where the current map and the baseline cut each.

    Args:
        energies: block name -> (k,) squared singular values, descending.
        table: of every block, as :func:`app.tables.spectra` returns it.
        marks: what the cuts of the map and the baseline are called, where there are these; by column of the table.
    """
    single = table[~table["joined"]]
    cuts = tables.cuts(single, energies)
    before = tables.cuts(single, energies, "baseline") if "baseline" in marks else cuts.head(0)
    figure = charts.energy_lost(tables.energy_lost(single, energies), cuts, before)
    st.plotly_chart(
        figure, key="spectra.all", config=charts.chart_config("energy-lost"), alt="Energy lost by rank, for every kind"
    )
    ticks = "".join(
        f" {tick}: {marks[column]}." for column, tick in (("cut", "Ticks"), ("baseline", "Crosses")) if column in marks
    )
    st.caption(f"A line per projection, from the first layer (blue) to the last (ochre).{ticks}")
    with st.expander("Table of this chart"):
        config: columns.Columns = {
            "block": "Block",
            "cut": st.column_config.NumberColumn("Rank kept", format="%d"),
            "full_rank": "Full rank",
            "rank_fraction": columns.share("Share of the ranks"),
            "lost": columns.share("Energy lost"),
        }
        shown = columns.in_percent(cuts[list(config)], config)
        st.dataframe(shown, column_config=config, hide_index=True, key="spectra.cuts")
