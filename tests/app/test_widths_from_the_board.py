"""Widths of MLPs held on the board: what it may report, and that a rank typed into the table takes one away."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

NAME = "+".join(f"layers.0.{kind}" for kind in ("gate", "up", "down"))


def report_and_type() -> None:
    import streamlit as st

    from app.components.rank_board.held import editor_key, held_ranks
    from app.components.rank_board.state import board_key, take_report
    from tests.support.bare_board import made_up_analysis

    analysis = made_up_analysis(1, 8, mlps=True)
    if "typed" in st.session_state:
        row = list(analysis.projections).index("layers.0.up")
        st.session_state[editor_key(analysis.id)] = {"edited_rows": {row: {"held": st.session_state["typed"]}}}
    else:
        st.session_state[board_key(analysis)] = {"board": st.session_state["report"]}
        take_report(analysis)
    st.session_state["held"] = dict(held_ranks(analysis))


def test_a_width_is_reported_by_the_name_of_its_mlp_and_gives_way_to_a_rank() -> None:
    page = AppTest.from_function(report_and_type)
    held = {NAME: 12, "layers.0.o": 3, "layers.0.up+layers.0.down": 4}
    page.session_state["report"] = {"keep": 0.7, "method": "water-filling", "held": held, "revision": 1}
    page.run()
    assert not page.exception
    assert page.session_state["held"] == {NAME: 12, "layers.0.o": 3}
    page.session_state["typed"] = 5
    page.run()
    assert not page.exception
    assert page.session_state["held"] == {"layers.0.o": 3, "layers.0.up": 5}
