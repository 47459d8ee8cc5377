"""Part of Allocation: what the active map decides otherwise than another method's or a saved one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from app.components.rank_board.state import COMPARED_KEY
from app.costed_maps import SAVED, CostedMap
from app.services import maps as saved_maps
from app.widgets import columns
from engine.rank_map.difference import difference_to_csv, params_moved, rank_map_difference
from engine.rank_map.named import NamedMap
from engine.results.words import count, method_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from app.costed_maps import NoMap
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap


def show_difference(analysis: Analysis, costed: CostedMap, maps: Sequence[CostedMap | NoMap]) -> None:
    """Ask for another map and show every projection that the active one decides otherwise."""
    methods = {p.method: p.rank_map for p in maps if isinstance(p, CostedMap) and p.method != SAVED}
    named = {m.id: m for m in saved_maps.all_saved(analysis.id) if isinstance(m, NamedMap)}
    if st.session_state.get(COMPARED_KEY) not in {None, *methods, *named}:
        st.session_state[COMPARED_KEY] = None
    with st.expander("Difference to another map", icon=":material/difference:"):
        other = st.selectbox(
            "Compared with",
            [*methods, *named],
            None,
            format_func=lambda name: f"Saved: {named[name].name}" if name in named else method_title(name),
            placeholder="A method at this budget, or a saved map",
            key=COMPARED_KEY,
            persist_state="session",
            width=480,
        )
        if other is None:
            return
        show_map_difference(analysis, named[other].rank_map if other in named else methods[other], costed.rank_map)


def show_map_difference(analysis: Analysis, before: RankMap, after: RankMap) -> None:
    """Show every projection that ``after`` decides otherwise than ``before``."""
    changes = rank_map_difference(before, after, analysis.inventory)
    gained, lost = params_moved(changes)
    n_all = len(analysis.inventory.projections)
    st.caption(
        f"{len(changes)} of {n_all} projections differ: {count(gained)} parameters are added to some "
        f"and {count(lost)} removed from others. Shared parameters are split by output width."
    )
    if changes:
        _show_table(tables.difference(changes, analysis))
        st.download_button(
            "Download the difference",
            difference_to_csv(changes),
            f"rankscope-difference-{analysis.id[:8]}.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
        )


def _show_table(changes: pd.DataFrame) -> None:
    config: columns.Columns = {
        "block": "Projection",
        "layer": "Layer",
        "kind": "Kind",
        "before": "Rank before",
        "after": "Rank after",
        "gained": st.column_config.NumberColumn("Parameters gained", format="localized", help="Negative: removed."),
        "share": columns.share("of dense", help_text="Fraction of the projection's dense parameters."),
    }
    st.dataframe(columns.in_percent(changes, config), hide_index=True, column_config=config)
