"""Part of Sensitivity: one table of all projections, whose rows can be held on the rank board."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from app import tables
from app.components.rank_board.held import hold_instead
from app.components.rank_board.selection import selected_in_address
from app.costed_maps import NoMap
from app.pages import page_link
from app.views.sensitivity.brushing import brushed
from app.views.sensitivity.passages import open_passages
from app.widgets import columns
from app.widgets.baseline import beside_baseline
from engine.methods.editing import without
from engine.results.words import counted, method_title, percent
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from app.costed_maps import CostedMap
    from engine.analysis.curves import SpectrumSummary
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks

_HELP: Final = (
    "Select rows, or drag over cells of the maps above, to hold their ranks on the rank board, release them, or select "
    "them there."
)
_number = st.column_config.NumberColumn
_COLUMNS: Final[Mapping[str, Any]] = {
    "block": "Projection",
    "kind": "Kind",
    "layer": "Layer",
    "nats_per_mb": _number(
        "Nats per MB", format="%.3g", help="Predicted nats per token for each MB that the cut frees."
    ),
    "predicted": _number("Predicted nats", format="%.3g", help="Per token, if this projection alone is cut."),
    "measured": _number("Measured nats", format="%.3g", help="Per token, when this projection alone was cut."),
    "importance": columns.share("Importance", is_small=True, help_text="FLRC's, as a share of the total."),
    "effective_rank": _number("Effective rank", format="%.1f"),
    "format": "Format",
    "rank": _number("Rank", help="In the current map; a dense projection has its full rank."),
    "delta": _number("\u0394 rank", format="%+d", help="Difference from the baseline."),
    "kept": columns.share("Kept", help_text="Of the parameters of its block, in the current map."),
    "held": st.column_config.CheckboxColumn("Held", help="On the rank board."),
}


def show_projections(
    analysis: Analysis,
    scores: pd.DataFrame,
    summaries: Mapping[str, SpectrumSummary],
    current: CostedMap | NoMap,
    held: HeldRanks,
) -> None:
    """Show every projection's scores beside what the current map makes of it, and hold selected ones.

    Args:
        analysis: of the model.
        scores: in the order to show.
        summaries: of the spectra, by block.
        current: the map of the rank board.
        held: what is held there.
    """
    st.header("Projections", help=_HELP)
    table = tables.importance_shares(scores)
    table["effective_rank"] = table["name"].map(lambda name: summaries[name].effective_rank)
    table["held"] = table["name"].isin({name for key, _ in held for name in key.split("+")})
    if not isinstance(current, NoMap):
        decided = tables.projections(current, analysis)[["name", "format", "rank", "kept"]]
        table = beside_baseline(table.merge(decided, on="name"), analysis, key="sensitivity.differences")
        st.caption(f"Current map: {method_title(current.method)}, {percent(current.cost.kept_fraction)} kept.")
    on_maps = brushed() & set(table["name"])
    if on_maps:
        table = table[table["name"].isin(on_maps)]
        st.caption("Only what is selected on the maps above; a double click there shows all.")
    shown = [column for column in _COLUMNS if column in table]
    event = st.dataframe(
        columns.in_percent(table[shown], _COLUMNS),
        column_config=_COLUMNS,
        hide_index=True,
        placeholder="–",
        key=f"sensitivity.projections.{hash(tuple(table['name']))}",  # rows are selected by their places
        on_select="rerun",
        selection_mode="multi-row",
    )
    picked = table if on_maps and not event.selection.rows else table.iloc[event.selection.rows]
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(picked) == 1:
            name = str(picked["name"].iloc[0])
            st.button("See which text pays for it", on_click=open_passages, args=(name,), icon=":material/text_ad:")
        if len(picked):
            _offer_to_hold(analysis, picked, dict(held), current)
            label = f"Select {counted(len(picked), 'projection')} on the rank board"
            page_link("allocation", label, **selected_in_address(analysis, set(picked["name"])))
        else:
            page_link("allocation", "Choose ranks")


def _offer_to_hold(analysis: Analysis, picked: pd.DataFrame, held: dict[str, int], current: CostedMap | NoMap) -> None:
    rest = without(held, set(picked["name"]))
    if not isinstance(current, NoMap):
        narrow = {name: b.name for b in current.rank_map.blocks if b.format is Format.WIDTH for name in b.members}
        ranks = {narrow.get(name, name): int(r) for name, r in zip(picked["name"], picked["rank"], strict=True)}
        label = f"Hold {counted(len(picked), 'projection')} at the rank shown"
        kept = without(rest, {name for key in ranks for name in key.split("+")})
        st.button(label, on_click=hold_instead, args=(analysis.id, kept | ranks), icon=":material/lock:")
    if len(rest) < len(held):
        label = f"Release {counted(len(held) - len(rest), 'held rank')}"
        st.button(label, on_click=hold_instead, args=(analysis.id, rest), icon=":material/lock_open:")
