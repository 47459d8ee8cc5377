"""Part of Allocation: keep the map shown under a name, bring maps in from files, and list what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from app.services import maps as saved_maps
from app.services import texts
from app.views.allocation.saved_map_actions import map_label, offer_actions
from app.widgets import columns
from app.widgets.errors import errors_shown
from app.widgets.opened_map import open_map
from engine.rank_map.named import MAX_NAME, NamedMap

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_GENERATION = "maps.generation"
_CHOSEN = "maps.chosen"
_NEXT = "maps.next"
_COLUMNS: columns.Columns = {
    "name": "Saved map",
    "kept": columns.KEPT,
    "method": "Method",
    "metric": "Metric",
    "created": st.column_config.DatetimeColumn("Saved at"),
}


def show_saved_maps(analysis: Analysis, costed: CostedMap | None) -> None:
    """Offer everything that can be done with saved maps; ``costed`` is the map shown."""
    st.caption("Saved for this model. The address of this page restores the open map, the budget and held ranks.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = None if costed is None else _name_to_save()
        _import(analysis)
    if costed is not None and name is not None:
        with errors_shown():
            _go_on_with(saved_maps.save_map(analysis.id, name, costed.rank_map))
    maps = {m.id: m for m in saved_maps.all_saved(analysis.id)}
    if not maps:
        return
    named = [m for m in maps.values() if isinstance(m, NamedMap)]
    st.dataframe(
        columns.in_percent(tables.saved_maps(named, analysis), _COLUMNS),
        hide_index=True,
        column_config=_COLUMNS,
    )
    if _NEXT in st.session_state:
        st.session_state[_CHOSEN] = st.session_state.pop(_NEXT)
    if st.session_state.get(_CHOSEN) not in maps:
        # Set, not dropped: the browser keeps what it shows until it is sent another value.
        st.session_state[_CHOSEN] = next(iter(maps))
    chosen = st.selectbox(
        "Saved map",
        list(maps),
        format_func=lambda i: map_label(maps[i]),
        key=_CHOSEN,
        width=480,
        persist_state="session",
    )
    changed = offer_actions(analysis, maps[chosen])
    if changed is not None:
        _go_on_with(changed)


def _name_to_save() -> str | None:
    """Ask for a name; return it in the run in which it was submitted."""
    with st.form("maps.save", border=False, width=420), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Save the map shown as", key=f"maps.name.{_generation()}", max_chars=MAX_NAME)
        submitted = st.form_submit_button("Save", icon=":material/save:")
    return name if submitted else None


def _import(analysis: Analysis) -> None:
    with st.popover("Import a map", icon=":material/upload_file:"):
        file = st.file_uploader(
            "Rank map (.json or .csv, up to 5 MB)",
            ["json", "csv"],
            key=f"maps.import.{_generation()}",
            max_upload_size=texts.UPLOAD_BYTES // 10**6,
        )
        if file is not None:
            with errors_shown():
                saved = saved_maps.import_map(analysis.id, file.name, file.getvalue())
                open_map(analysis, saved.id)
                _go_on_with(saved)


def _go_on_with(named: NamedMap) -> None:
    """Draw the section anew, with empty questions and this map chosen."""
    st.session_state[_NEXT] = named.id
    st.session_state[_GENERATION] = _generation() + 1
    st.rerun()


def _generation() -> int:
    return int(st.session_state.get(_GENERATION, 0))
