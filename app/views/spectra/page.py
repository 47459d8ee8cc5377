"""Spectra: how fast the singular values of every projection fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.pages import page_link
from app.services import analyses
from app.views.spectra.block_choice import pick
from app.views.spectra.spectrum_lines import show_lines
from app.widgets.analysis_picker import current_analysis
from app.widgets.colour_scale import colour_scale
from app.widgets.errors import errors_shown
from app.widgets.pickers import option_picker
from app.wording.labels import METRICS
from engine.types import Metric

if TYPE_CHECKING:
    import pandas as pd

    from app.widgets.colour_scale import ColourScale
    from engine.analysis.value import Analysis

_MAP = "spectra.map"
_HELP = (
    "Effective rank: exp of the spectrum's entropy. Rank at 99 %: the smallest rank with 99 % of the energy "
    "(the squared singular values). Stable rank: total energy over the largest."
)


def render() -> None:
    st.title("Spectra")
    st.caption("A projection whose singular values fall fast can be stored as two thin matrices with little loss.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            metric = _pick_metric(analysis)
            summary = option_picker("Summary", tables.SUMMARIES, key="spectra.summary", help_text=_HELP)
            relative = st.toggle("Relative to full rank", True, key="spectra.relative")
            scale = colour_scale()
        table = tables.spectra(analysis, analyses.spectrum_summaries(analysis.id, metric))
        _show_map(table, summary, scale, relative=relative)
        show_lines(analysis, metric, table)
        page_link("sensitivity", "Which projections matter most")


def _pick_metric(analysis: Analysis) -> Metric:
    """Ask which metric's spectra to show."""
    analysed = [m for m in Metric if m in analysis.energies]
    start = analysed.index(analysis.default_metric)
    return st.selectbox(
        "Metric",
        analysed,
        start,
        format_func=METRICS.__getitem__,
        key="spectra.metric",
        width=400,
        help="Singular values of the weight itself, or of the weight scaled by calibration statistics.",
    )


def _show_map(table: pd.DataFrame, summary: str, scale: ColourScale, *, relative: bool) -> None:
    single = table[~table["joined"]]
    fraction = single[summary] / single["full_rank"]
    title = tables.SUMMARIES[summary]
    hover = [
        f"{row['block']}<br>{title}: {row[summary]:.4g} of {row['full_rank']} ({share:.1%})"
        for row, share in zip(single.to_dict("records"), fraction, strict=True)
    ]
    meaning = f"{title}, as a fraction of full rank" if relative else title
    rows = single.assign(value=fraction if relative else single[summary])
    figure = charts.layer_heatmap(
        rows,
        "value",
        title=f"{meaning}<br>(dark: compressible)",
        hover=hover,
        percent=relative,
        log=scale.is_log(rows["value"].to_numpy()),
    )
    st.markdown(f"**{meaning}**, layers from the input (0) downwards. Click cells to draw their spectra.")
    st.plotly_chart(
        figure,
        key=_MAP,
        on_select=_pick_clicked,
        selection_mode="points",
        alt=f"Heatmap of {meaning} by layer and kind",
    )


def _pick_clicked() -> None:
    clicked = [point["customdata"] for point in st.session_state[_MAP]["selection"]["points"]]
    pick([c[0] if isinstance(c, list) else c for c in clicked])


render()
