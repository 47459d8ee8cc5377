"""Ranks typed into the table while it shows only some of the projections."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def show_and_type() -> None:
    import streamlit as st

    from app.components.rank_board.held import editor_key, held_base, held_ranks, show_rows
    from tests.support.bare_board import made_up_analysis

    analysis = made_up_analysis(1, 8)
    if "typed" in st.session_state:
        st.session_state[editor_key(analysis.id)] = {"edited_rows": {0: {"held": st.session_state["typed"]}}}
    st.session_state["held"] = dict(held_ranks(analysis))
    show_rows(analysis.id, st.session_state["rows"])
    st.session_state["base"] = held_base(analysis.id)


def test_an_edit_belongs_to_the_row_that_was_shown_and_outlives_a_change_of_rows() -> None:
    page = AppTest.from_function(show_and_type)
    page.session_state["rows"] = ["layers.0.o", "layers.0.up"]
    page.run()
    page.session_state["typed"] = 3
    page.run()
    assert page.session_state["held"] == {"layers.0.o": 3}
    # The edit changed which rows differ: the table starts afresh with what is held, and the next edit is of its row.
    page.session_state["rows"] = ["layers.0.up"]
    page.session_state["typed"] = 3
    page.run()
    assert page.session_state["base"] == {"layers.0.o": 3}
    page.session_state["typed"] = 4
    page.run()
    assert page.session_state["held"] == {"layers.0.o": 3, "layers.0.up": 4}
