"""Part of Model: analyses by what they take, with names, and deleted after a question."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import stored_analyses as stored
from app.widgets.errors import errors_shown
from app.wording.labels import plain
from engine.rank_map.named import MAX_NAME
from engine.results.words import megabytes

if TYPE_CHECKING:
    from app.services.stored_analyses import StoredAnalysis

_CHOSEN = "storage.analysis"


def show_analyses() -> None:
    """List the analyses; rename and delete one."""
    found = {one.heading.id: one for one in stored.stored_analyses()}
    if not found:
        return
    table = {
        "Analysis": [one.heading.label for one in found.values()],
        "Made": [one.heading.created for one in found.values()],
        "MB": [one.n_bytes / 1e6 for one in found.values()],
    }
    columns = {
        "Made": st.column_config.DatetimeColumn(format="D MMM YYYY, HH:mm"),
        "MB": st.column_config.NumberColumn(format="%.1f", help="Its own; what other analyses use, too, is left out."),
    }
    st.dataframe(table, hide_index=True, column_config=columns)
    if st.session_state.get(_CHOSEN) not in found:
        st.session_state[_CHOSEN] = next(iter(found))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Analysis", list(found), format_func=lambda i: found[i].heading.label, key=_CHOSEN, width=720
        )
        _offer_file(found[chosen])
        _offer_name(found[chosen])
        _offer_deletion(found[chosen])


def _offer_file(one: StoredAnalysis) -> None:
    st.download_button(
        "Download",
        lambda: stored.archive(one.heading),
        f"rankscope-{one.heading.id[:12]}.tar",
        "application/x-tar",
        key=f"storage.file.{one.heading.id}",
        on_click="ignore",
        help="Spectra and measurements, to explore on another machine: `rankscope analysis import FILE`. "
        "`rankscope analysis export` writes the factors, too.",
        icon=":material/download:",
    )


def _offer_name(one: StoredAnalysis) -> None:
    with st.popover("Rename", icon=":material/edit:"), st.form(f"storage.name.{one.heading.id}", border=False):
        name = st.text_input("Name, shown before model and text", one.heading.name, max_chars=MAX_NAME)
        if st.form_submit_button("Rename it"):
            with errors_shown():
                stored.rename(one.heading, name)
                st.rerun()


def _offer_deletion(one: StoredAnalysis) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(
            f"Delete **{plain(one.heading.label)}**? Its spectra and {megabytes(one.n_bytes)} of factors "
            "that nothing else uses go. Saved maps, exports, measurements and the statistics stay: the same analysis, "
            "made again, is quick and shows all that was measured."
        )
        if st.button("Delete the analysis", key=f"storage.delete.{one.heading.id}"):
            with errors_shown():
                stored.delete(one.heading)
                st.rerun()
