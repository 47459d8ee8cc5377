"""Part of Model: exported models by what they take, renamed, and deleted after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import stored_exports as stored
from app.widgets.errors import errors_shown
from app.wording.labels import plain
from engine.results.words import counted, megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.services.stored_exports import StoredExport

_CHOSEN = "storage.export"


def show_exports(exports: Sequence[StoredExport]) -> None:
    """List the exports; rename and delete one."""
    found = {str(one.folder): one for one in exports}
    if not found:
        return
    table = {
        "Export": [one.label for one in exports],
        "What": [one.what for one in exports],
        "MB": [one.n_bytes / 1e6 for one in exports],
    }
    columns = {
        "What": st.column_config.TextColumn(help="As the folder says; empty where it does not."),
        "MB": st.column_config.NumberColumn(format="%.1f"),
    }
    st.dataframe(table, hide_index=True, placeholder="–", column_config=columns)
    if st.session_state.get(_CHOSEN) not in found:
        st.session_state[_CHOSEN] = next(iter(found))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox("Export", list(found), format_func=lambda path: found[path].label, key=_CHOSEN, width=720)
        _offer_name(found[chosen])
        _offer_deletion(found[chosen])


def _offer_name(one: StoredExport) -> None:
    with st.popover("Rename", icon=":material/edit:"), st.form(f"storage.export-name.{one.folder}", border=False):
        name = st.text_input("Name of the folder", one.folder.name, max_chars=80)
        _say_who_needs(one)
        if st.form_submit_button("Rename the folder"):
            with errors_shown():
                stored.rename(one, name.strip())
                st.rerun()


def _offer_deletion(one: StoredExport) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(
            f"Delete the folder **{plain(one.label)}** with {megabytes(one.n_bytes)}? "
            "Its rank map and measurements stay, so that it can be exported again."
        )
        _say_who_needs(one)
        if st.button("Delete the export", key=f"storage.export-delete.{one.folder}"):
            with errors_shown():
                stored.delete(one)
                st.rerun()


def _say_who_needs(one: StoredExport) -> None:
    analyses = stored.analyses_of(one)
    if analyses:
        said = counted(len(analyses), "analysis of it opens", "analyses of it open")
        st.warning(f"{said} its weights here, and can be measured no more until it is back.")
