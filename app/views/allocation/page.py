"""Allocation: the rank board, the measurement of the chosen map, and the same as tables."""

import streamlit as st

from app.components.rank_board.state import board_state
from app.services import measurements
from app.views.allocation.bits import ask_for_rounding
from app.views.allocation.board import board_input, show_board
from app.views.allocation.tabs import show_tabs
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from app.widgets.held_draft import held_across_reloads
from app.widgets.opened_map import opened_map
from app.widgets.text_choice import chosen_text


def render() -> None:
    title, picker = st.columns([2, 7], vertical_alignment="center")
    title.title("Allocation")
    with errors_shown():
        with picker:
            analysis = current_analysis(is_compact=True)
        if analysis is None:
            return
        held = held_across_reloads(analysis)
        opened = opened_map(analysis)
        state = board_state(analysis, held)
        rows = measurements.result_rows(analysis.id)
        text = chosen_text(rows)
        board = board_input(analysis, state, opened, text)
        show_board(board)
        if state.chooses_bits or (opened is not None and opened.rank_map.is_rounded):
            ask_for_rounding(analysis, chooses_bits=state.chooses_bits)
        show_tabs(board, rows)


render()
