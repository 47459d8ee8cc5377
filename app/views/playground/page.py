"""Playground: the dense and a compressed model answer the same prompt, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st

from app.services import playground
from app.views.playground.answers import show_answer
from app.views.playground.compressed_choice import choose_compressed
from app.views.playground.prompt_form import generation_settings, prompt_input
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from app.widgets.url_state import set_url_state, url_state
from engine.playground import Question

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from app.views.playground.compressed_choice import Choice
    from engine.analysis.value import Analysis


def render() -> None:
    st.title("Playground")
    st.caption("The dense and a compressed model answer the same prompt, side by side. Press *Answer*.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        asked, chosen = st.columns([3, 2], gap="large")
        choice = None
        with chosen, errors_shown():
            choice = choose_compressed(analysis)
        with asked:
            stop_place = _ask(analysis, choice)
        titles = ("Dense model", "Compressed model") if choice is None else choice.titles
        show_answer(url_state("answer"), stop_place, titles)


def _ask(analysis: Analysis, choice: Choice | None) -> DeltaGenerator:
    """Ask for a prompt and hand it over; return where the button goes that ends the answer."""
    prompt, chat = prompt_input()
    with st.container(horizontal=True, vertical_alignment="center"):
        pressed = st.button("Answer", type="primary", icon=":material/play_arrow:", disabled=choice is None, key="ask")
        stop_place = st.container(width="content", key="stop")
        spec = generation_settings()
    if pressed and choice is not None:
        with errors_shown():
            compressed = choice.of(spec.max_new_tokens)
            question = Question(analysis.id, prompt, None if chat else False, spec, compressed, choice.title)
            if choice.instead is not None:
                other = choice.instead
                question = replace(question, instead=other.of(spec.max_new_tokens), instead_title=other.title)
            earlier = url_state("answer")
            if earlier is not None:
                playground.playground().stop(earlier)
            set_url_state("answer", playground.playground().ask(question))
            st.rerun()
    return stop_place


render()
