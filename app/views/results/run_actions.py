"""Part of Results: what can be done with one measured map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from app.pages import page_file
from app.services import measurements, runs
from app.views.results.run_pickers import choose_runs
from app.views.shared.sharing import share_button
from app.widgets.baseline import pin_baseline
from app.widgets.errors import errors_shown
from app.widgets.opened_map import open_map
from app.wording.labels import plain
from engine.rank_map.notes import MAX_NOTE, RunNote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow

_MAX_NAME = 80


def offer_actions(analysis: Analysis, row: ResultRow, notes: Mapping[str, RunNote], *, is_alone: bool) -> None:
    """Offer to open a run elsewhere, to share it, to name it and to delete it."""
    label = plain(tables.run_label(row, notes))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{label}**")
        for page, title, icon in (
            ("allocation", "Open on the board", ":material/tune:"),
            ("playground", "Try in the Playground", ":material/forum:"),
        ):
            if st.button(title, icon=icon, key=f"open.{page}.{row.id}"):
                _open(analysis, row, page)
        share_button(analysis, measurements.costed_map(analysis.id, row), label=None if is_alone else f"Share: {label}")
        if row.rank_map is not None and st.button("Pin as baseline", icon=":material/push_pin:", key=f"pin.{row.id}"):
            with errors_shown():
                pin_baseline(analysis, row.rank_map, tables.run_label(row, notes))
                st.rerun()
        _offer_note(analysis, row, notes.get(row.id, RunNote()))
        _offer_deletion(row, label)


def _open(analysis: Analysis, row: ResultRow, page: str) -> None:
    """Go to a page with the run's map, which is saved for that."""
    with errors_shown():
        open_map(analysis, runs.saved_for(analysis.id, row))
        st.switch_page(page_file(page))


def _offer_note(analysis: Analysis, row: ResultRow, given: RunNote) -> None:
    with st.popover("Name and note", icon=":material/edit:"), st.form(f"note.{row.id}", border=False):
        name = st.text_input("Name", given.name, max_chars=_MAX_NAME)
        note = st.text_area("Note", given.note, max_chars=MAX_NOTE)
        if st.form_submit_button("Keep"):
            with errors_shown():
                runs.put_note(analysis.id, row, name, note)
                st.rerun()


def _offer_deletion(row: ResultRow, label: str) -> None:
    with st.popover("Delete", icon=":material/delete:"):
        st.markdown(f"Delete everything that was measured of {label}? Predictions are then made without it.")
        st.button("Delete the measurements", key=f"delete.{row.id}", on_click=_delete, args=(row,))


def _delete(row: ResultRow) -> None:
    runs.delete_run(row)
    choose_runs([])
