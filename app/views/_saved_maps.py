"""Part of Allocation: keep the map shown under a name; open, rename, duplicate, delete, take along and bring in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from app import saved_maps, services, tables
from app.labels import plain
from app.widgets import close_map, errors_shown, open_map, saved_maps_frame, url_state
from engine.pipeline.named_maps import MAX_NAME, DamagedMap, NamedMap
from engine.rank_map_csv import rank_map_to_csv

if TYPE_CHECKING:
    from app.plans import Plan
    from engine.analysis import Analysis

_GENERATION = "maps.generation"
_CHOSEN = "maps.chosen"
_NEXT = "maps.next"


def show_saved_maps(analysis: Analysis, plan: Plan | None) -> None:
    """Offer everything that can be done with saved maps; ``plan`` is the map shown."""
    st.subheader("Saved maps")
    st.caption("Kept for this model. The address of this page brings back the open one, the budget and held ranks.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if plan is not None:
            _save(analysis, plan)
        _import(analysis)
    found = {m.id: m for m in saved_maps.all_saved(analysis.id)}
    if not found:
        return
    saved_maps_frame(tables.saved_maps([m for m in found.values() if isinstance(m, NamedMap)], analysis))
    if _NEXT in st.session_state:
        st.session_state[_CHOSEN] = st.session_state.pop(_NEXT)
    if st.session_state.get(_CHOSEN) not in found:
        st.session_state.pop(_CHOSEN, None)
    chosen = st.selectbox("Saved map", list(found), format_func=lambda i: _label(found[i]), key=_CHOSEN, width=480)
    named = found[chosen]
    with st.container(horizontal=True):
        if isinstance(named, DamagedMap):
            st.error(plain(named.error), icon=":material/error:")
        else:
            _open_or_close(named)
            _rename(analysis, named)
            _duplicate(analysis, named)
            _offer_files(analysis, named)
        _delete(analysis, named)


def _save(analysis: Analysis, plan: Plan) -> None:
    with st.form("maps.save", border=False, width=420), st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Save the map shown as", key=f"maps.name.{_generation()}", max_chars=MAX_NAME)
        if st.form_submit_button("Save", icon=":material/save:"):
            with errors_shown():
                _go_on_with(saved_maps.save_map(analysis.id, name, plan.rank_map))


def _import(analysis: Analysis) -> None:
    with st.popover("Import a map", icon=":material/upload_file:"):
        file = st.file_uploader(
            "Rank map (.json or .csv, up to 5 MB)",
            ["json", "csv"],
            key=f"maps.import.{_generation()}",
            max_upload_size=services.UPLOAD_BYTES // 10**6,
        )
        if file is not None:
            with errors_shown():
                saved = saved_maps.import_map(analysis.id, file.name, file.getvalue())
                open_map(saved.id)
                _go_on_with(saved)


def _open_or_close(named: NamedMap) -> None:
    if url_state("map") == named.id:
        st.button("Close", on_click=close_map, icon=":material/close:")
    else:
        st.button("Open", on_click=open_map, args=(named.id,), icon=":material/folder_open:")


def _rename(analysis: Analysis, named: NamedMap) -> None:
    with (
        st.popover("Rename", icon=":material/edit:"),
        st.form(f"maps.rename.{named.id}", border=False),
    ):
        name = st.text_input("New name", named.name, key=f"maps.rename.{named.id}.{named.name}", max_chars=MAX_NAME)
        if st.form_submit_button("Rename it"):
            with errors_shown():
                saved_maps.rename_map(analysis.id, named.id, name)
                _go_on_with(named)


def _duplicate(analysis: Analysis, named: NamedMap) -> None:
    if st.button("Duplicate", icon=":material/content_copy:"):
        with errors_shown():
            _go_on_with(saved_maps.duplicate_map(analysis.id, named.id))


def _offer_files(analysis: Analysis, named: NamedMap) -> None:
    stem = re.sub(r"[^\w-]+", "-", named.name).strip("-") or "map"
    for kind, content, mime in (
        ("JSON", named.rank_map.to_json(), "application/json"),
        ("CSV", rank_map_to_csv(named.rank_map, analysis.inventory), "text/csv"),
    ):
        st.download_button(
            kind,
            content,
            f"{stem}.{kind.lower()}",
            mime,
            on_click="ignore",
            icon=":material/download:",
            help=f"Download the saved map as {kind}",
        )


def _delete(analysis: Analysis, named: NamedMap | DamagedMap) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete **{plain(_label(named))}**? This cannot be undone.")
        if st.button("Delete for good", type="primary", key=f"maps.delete.{named.id}"):
            with errors_shown():
                saved_maps.delete_map(analysis.id, named.id)
                if url_state("map") == named.id:
                    close_map()
                st.rerun()


def _go_on_with(named: NamedMap) -> None:
    """Draw the section anew, with empty questions and this map chosen."""
    st.session_state[_NEXT] = named.id
    st.session_state[_GENERATION] = _generation() + 1
    st.rerun()


def _generation() -> int:
    return int(st.session_state.get(_GENERATION, 0))


def _label(named: NamedMap | DamagedMap) -> str:
    return f"damaged map {named.id}" if isinstance(named, DamagedMap) else named.name
