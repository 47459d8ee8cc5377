"""Part of Allocation: what can be done with one saved map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import maps as saved_maps
from app.widgets.errors import errors_shown
from app.widgets.opened_map import close_map, open_map
from app.widgets.url_state import url_state
from app.wording.labels import plain, slug
from engine.rank_map.named import MAX_NAME, DamagedMap, NamedMap
from engine.rank_map.table import rank_map_to_csv

if TYPE_CHECKING:
    from engine.analysis.value import Analysis


def offer_actions(analysis: Analysis, named: NamedMap | DamagedMap) -> NamedMap | None:
    """Offer to open, rename, duplicate, download and delete a map; return the map that was just made or changed."""
    changed = None
    if isinstance(named, DamagedMap):
        st.error(plain(named.error), icon=":material/error:")
    with st.container(horizontal=True):
        if isinstance(named, NamedMap):
            _open_or_close(analysis, named)
            changed = _rename(analysis, named) or _duplicate(analysis, named)
            _offer_files(analysis, named)
        _delete(analysis, named)
    return changed


def map_label(named: NamedMap | DamagedMap) -> str:
    """Return the name of a map, or what stands for it."""
    return f"damaged map {named.id}" if isinstance(named, DamagedMap) else named.name


def _open_or_close(analysis: Analysis, named: NamedMap) -> None:
    if url_state("map") == named.id:
        st.button("Close map", on_click=close_map, icon=":material/close:")
    else:
        st.button("Open map", on_click=open_map, args=(analysis, named.id), icon=":material/folder_open:")


def _rename(analysis: Analysis, named: NamedMap) -> NamedMap | None:
    with (
        st.popover("Rename", icon=":material/edit:"),
        st.form(f"maps.rename.{named.id}", border=False),
    ):
        name = st.text_input("New name", named.name, key=f"maps.rename.{named.id}.{named.name}", max_chars=MAX_NAME)
        if st.form_submit_button("Rename it"):
            with errors_shown():
                return saved_maps.rename_map(analysis.id, named.id, name)
    return None


def _duplicate(analysis: Analysis, named: NamedMap) -> NamedMap | None:
    if st.button("Duplicate", icon=":material/content_copy:"):
        with errors_shown():
            return saved_maps.duplicate_map(analysis.id, named.id)
    return None


def _offer_files(analysis: Analysis, named: NamedMap) -> None:
    stem = slug(named.name, r"\w-") or "map"
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
    with st.popover("Delete", icon=":material/delete:", key=f"maps.question.{named.id}"):
        st.markdown(f"Delete **{plain(map_label(named))}**? This cannot be undone.")
        if st.button("Delete permanently", type="primary", key=f"maps.delete.{named.id}"):
            with errors_shown():
                saved_maps.delete_map(analysis.id, named.id)
                if url_state("map") == named.id:
                    close_map()
                st.rerun()
