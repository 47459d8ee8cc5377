"""What is asked of the models, and how they choose tokens; all of it in the URL."""

from __future__ import annotations

import streamlit as st

from app.services import texts
from app.services.prompts import MAX_CHARACTERS, PROMPTS
from engine.specs import GenerationSpec


def prompt_input() -> tuple[str, bool]:
    """Ask for a prompt, and whether it is a question to a chat model; an edit of each preset is kept."""
    presets = {**PROMPTS, **texts.news_prompts()}
    preset_place, chat_place = st.columns([3, 2], vertical_alignment="bottom")
    chosen = preset_place.selectbox("Start from", list(presets), key="preset", bind="query-params")
    preset, number = presets[chosen], list(presets).index(chosen)
    chat = chat_place.toggle(
        "As a question",
        preset.is_question,
        key=f"chat.{number}",
        bind="query-params",
        help="On: the prompt goes through the model's chat template, if it has one. Off: the model continues the "
        "text as it is.",
    )
    text = st.text_area(
        "Prompt", preset.text, key=f"prompt.{number}", bind="query-params", height=100, max_chars=MAX_CHARACTERS
    )
    return text or "", chat


def generation_settings() -> GenerationSpec:
    """Ask how tokens are chosen, and say what is set beside it."""
    with st.popover("Settings", icon=":material/settings:"):
        length = st.number_input(
            "Max new tokens",
            1,
            2000,
            100,
            key="tokens",
            bind="query-params",
            help="The most tokens of an answer; it may end by itself earlier.",
        )
        temperature = st.slider(
            "Temperature",
            0.0,
            2.0,
            0.7,
            0.1,
            key="temperature",
            bind="query-params",
            help="0 always takes the likeliest token; above 0, tokens are sampled with the same random numbers for "
            "both models.",
        )
        seed = st.number_input(
            "Seed", 0, 2**31 - 1, 0, key="seed", bind="query-params", help="The same seed gives the same answer."
        )
    drawn = "always the likeliest one" if temperature == 0 else f"temperature {temperature:g}, seed {seed}"
    st.caption(f"At most {length} tokens, {drawn}")
    return GenerationSpec(int(length), float(temperature), int(seed))
