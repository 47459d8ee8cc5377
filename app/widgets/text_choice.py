"""Measurements on different texts do not compare, so that one text is shown at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.tables import measured_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def runs_of_one_text(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the measurements on the text that was used last, or on the one the user chooses."""
    texts = [measured_on(run) for run in runs]
    if len(set(texts)) <= 1:
        return list(runs)
    chosen = st.selectbox(
        "Measurements shown: those on",
        list(dict.fromkeys(texts)),
        key="measured-on",
        width=640,
        help="Perplexities of different texts do not compare.",
        persist_state="session",
    )
    return [run for run, text in zip(runs, texts, strict=True) if text == chosen]
