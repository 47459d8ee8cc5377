"""Part of Spectra: which attention heads of q, k, v or o can be compressed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from app import charts, tables
from app.services import heads
from app.widgets import columns
from app.widgets.pickers import option_picker
from app.wording.labels import WEIGHTINGS
from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    import pandas as pd

    from app.views.spectra.choices import Choices
    from engine.analysis.heads import HeadLayout
    from engine.analysis.value import Analysis

_KINDS: Final = ("q", "k", "v", "o")
_HELP: Final = (
    "Effective rank: of the head's own weights, over its size. Share: of the energy of all heads in the layer. Lost: "
    "how much of its energy a head loses where the current map cuts the whole projection."
)
_SIDES: Final = (
    "Factors are stored for the smaller side of a projection. Heads divide the outputs of q, k and v, which must be no "
    "more than the inputs, and the inputs of o, which must be fewer than the outputs."
)
_ABSENT: Final = (
    f"Single heads are shown of models whose config.json is on this machine, where the stored factors divide as heads "
    f"do. {_SIDES}"
)
_DARK: Final = {"rank_fraction": "(dark: compressible)", "share": "(dark: little)", "lost": "(dark: little)"}
_MOST_NAMED: Final = 4


def show_heads(analysis: Analysis, choices: Choices, cuts: Mapping[str, int]) -> None:
    """Show every head of one kind by layer.

    Args:
        analysis: of the model.
        choices: what the page is asked for.
        cuts: rank of every block that the current map cuts, by name.
    """
    if choices.metric not in analysis.nats:
        stored = ", ".join(name for metric, name in WEIGHTINGS.items() if metric in analysis.nats)
        st.info(f"Heads need stored factors, which this analysis has for these weightings: {stored}.")
        return
    layout, found = heads.layout(analysis.id), heads.heads(analysis.id, choices.metric)
    kinds = [kind for kind in _KINDS if any(analysis.projections[name].kind == kind for name in found)]
    if layout is None or not kinds:
        st.info(_ABSENT)
        return
    with st.container(horizontal=True):
        kind = option_picker("Heads of", {kind: kind for kind in kinds}, key="heads", help_text=_SIDES, in_url=True)
        value = option_picker("Shown", tables.HEAD_VALUES, key="head-value", help_text=_HELP, in_url=True)
    of_kind = {name: spectra for name, spectra in found.items() if analysis.projections[name].kind == kind}
    table = tables.heads(analysis.projections, of_kind, layout, cuts)
    if value == "lost" and table["lost"].isna().all():
        st.info(f"The current map cuts no {kind} by itself; choose another map on Allocation.")
        return
    figure = charts.layer_heatmap(
        table,
        value,
        title=f"{tables.HEAD_VALUES[value]}<br>{_DARK[value]}",
        hover=[_hover(row) for row in table.to_dict("records")],
        percent=True,
        log=choices.scale.is_log(table[value].to_numpy()),
    )
    st.plotly_chart(
        figure, key="spectra.heads", config=charts.chart_config("heads"), alt=f"Heatmap of the heads of {kind} by layer"
    )
    st.caption(_in_words(table, kind, layout))
    _show_table(table, kind)


def _hover(row: Mapping[Hashable, Any]) -> str:
    reads = f", reads {row['reads']}" if row["reads"] else ""
    lost = "" if math.isnan(row["lost"]) else f"<br>{percent(row['lost'])} lost at rank {row['cut']:.0f}"
    over = f"Effective rank {row['effective_rank']:.1f} ({percent(row['rank_fraction'])} of its size)"
    return f"{row['block']}{reads}<br>{over}<br>{percent(row['share'])} of the energy{lost}"


def _in_words(table: pd.DataFrame, kind: str, layout: HeadLayout) -> str:
    lowest = table.nsmallest(_MOST_NAMED, "rank_fraction")
    named = ", ".join(
        f"{block} ({percent(share)})" for block, share in zip(lowest["block"], lowest["rank_fraction"], strict=True)
    )
    middle = percent(float(table["rank_fraction"].median()))
    said = f"Lowest effective rank over size: {named}; the median is {middle}."
    if kind != "q" or layout.n_keys == layout.n_queries:
        return said
    return (
        f"{said} {layout.n_queries} query heads share {layout.n_keys} key and value heads, "
        f"{layout.n_queries // layout.n_keys} each."
    )


def _show_table(table: pd.DataFrame, kind: str) -> None:
    config: columns.Columns = {
        "block": "Head",
        "reads": st.column_config.TextColumn("Reads", help="The key and value head that a query head shares."),
        "effective_rank": st.column_config.NumberColumn("Effective rank", format="%.1f"),
        "rank_fraction": columns.share("Over its size"),
        "share": columns.share("Share of the energy", help_text="Of all heads of this kind in the layer."),
        "cut": st.column_config.NumberColumn("Rank kept", format="%d", help="Of the whole projection."),
        "lost": columns.share("Energy lost"),
    }
    with st.expander("Table of the heads"):
        shown = columns.in_percent(table[list(config)], config)
        st.dataframe(shown, column_config=config, hide_index=True, placeholder="–", key="spectra.heads.table")
        csv = table.drop(columns=["name", "kind"]).to_csv(index=False)
        st.download_button("Download as CSV", csv, f"heads-{kind}.csv", "text/csv", icon=":material/download:")
