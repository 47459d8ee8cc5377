"""Spectra: how fast the singular values of every projection fall."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, services, tables
from app.widgets import current_analysis, errors_shown, metric_picker, option_picker, page_link

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis import Analysis
    from engine.types import Metric

MOST_LINES = 12
_MAP, _PICKED = "spectra.map", "spectra.picked"


def render() -> None:
    st.title("Spectra")
    st.caption(
        "A projection whose singular values fall fast can be stored as two thin matrices with little harm."
    )
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        left, middle, right = st.columns([3, 3, 2])
        with left:
            metric = metric_picker(analysis, key="spectra.metric")
        with middle:
            summary = option_picker(
                "Summary",
                tables.SUMMARIES,
                key="spectra.summary",
                help_text=(
                    "Effective rank: exp of the spectrum's entropy. Rank at 99 %: the smallest rank with 99 % of the "
                    "energy (σ²). Stable rank: total energy over the largest."
                ),
            )
        with right:
            relative = st.toggle("Relative to full rank", True, key="spectra.relative")
        table = tables.spectra(analysis, services.spectrum_summaries(analysis.id, metric))
        _show_map(table, summary, relative=relative)
        _show_lines(analysis, metric, table)
        page_link("sensitivity", "Next: which projections matter most")


def _show_map(table: pd.DataFrame, summary: str, *, relative: bool) -> None:
    single = table[~table["joined"]]
    value = single[summary] / single["full_rank"] if relative else single[summary]
    title = tables.SUMMARIES[summary]
    hover = [
        f"{row.block}<br>{title}: {getattr(row, summary):.4g} of {row.full_rank} ({share:.1%})"
        for row, share in zip(single.itertuples(), single[summary] / single["full_rank"], strict=True)
    ]
    meaning = f"{title}, as a fraction of full rank" if relative else title
    figure = charts.layer_heatmap(single.assign(value=value), "value", meaning=meaning, hover=hover)
    st.markdown(f"**{meaning}** — click cells to draw their spectra below")
    st.plotly_chart(
        figure,
        key=_MAP,
        on_select=_pick,
        selection_mode="points",
        alt=f"Heatmap of {meaning} by layer and kind",
    )


def _pick() -> None:
    """Add the clicked cells to the drawn blocks."""
    clicked = [point["customdata"] for point in st.session_state[_MAP]["selection"]["points"]]
    names = [c[0] if isinstance(c, list) else c for c in clicked]
    st.session_state[_PICKED] = list(dict.fromkeys([*st.session_state.get(_PICKED, []), *names]))[
        -MOST_LINES:
    ]


def _show_lines(analysis: Analysis, metric: Metric, table: pd.DataFrame) -> None:
    labels = dict(zip(table["name"], table["block"], strict=True))
    if not set(st.session_state.get(_PICKED, [])) <= set(labels):
        del st.session_state[_PICKED]
    if _PICKED not in st.session_state:
        st.session_state[_PICKED] = list(table.loc[~table["joined"], "name"])[
            : len(set(table.loc[~table["joined"], "kind"]))
        ]
    st.multiselect(
        "Blocks drawn",
        list(labels),
        format_func=labels.__getitem__,
        key=_PICKED,
        max_selections=MOST_LINES,
        help=f"Up to {MOST_LINES}. Blocks such as 'L0 q+k+v' share one inner factor (cat formats).",
    )
    picked = st.session_state[_PICKED]
    if picked:
        energies = {labels[name]: analysis.energies[metric][name] for name in picked}
        break_even = dict(zip(table["block"], table["break_even"], strict=True))
        left, right = st.columns(2)
        left.markdown("**Energy of every singular value**, as a share of its block's")
        left.plotly_chart(
            charts.spectra(energies, break_even), key="spectra.lines", alt="Spectra on log axes"
        )
        right.markdown("**Energy kept at every rank**")
        right.plotly_chart(
            charts.cumulative_energy(energies, break_even), key="spectra.kept", alt="Cumulative energy"
        )
        st.caption(
            "◆ break-even rank of the low-rank and cat formats: from there on the factors cost more than the dense "
            "weight. The skip formats save parameters up to full rank minus one."
        )
    with st.expander("Table of every block"):
        columns = {
            "block": "Block",
            **tables.SUMMARIES,
            "full_rank": "Full rank",
            "break_even": "Break-even (low-rank, cat)",
            "break_even_skip": "Break-even (skip, skip+cat)",
        }
        st.dataframe(table[list(columns)].rename(columns=columns).round(2), hide_index=True)
