"""Measurements on different texts do not compare, so that one text is shown at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from engine.prediction.runs import calibration_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


_KEY: Final = "measured-on"


def remembered_text(rows: Sequence[ResultRow]) -> MeasuredText | None:
    """Return the text that was chosen last on another page, or else the one that predictions are calibrated on."""
    texts = {text.setting: text for text in calibration_texts(rows)}
    return texts.get(st.session_state.get(_KEY, ())) or next(iter(texts.values()), None)


def chosen_text(rows: Sequence[ResultRow]) -> MeasuredText | None:
    """Return the text that predictions are calibrated on, or another one that the user chooses; ``None``: no text."""
    texts = {text.setting: text for text in calibration_texts(rows)}
    if len(texts) <= 1:
        return next(iter(texts.values()), None)
    chosen = st.selectbox(
        "Measurements on",
        list(texts),
        format_func=lambda setting: texts[setting].about,
        key=_KEY,
        width=640,
        help="Perplexities on different texts are not comparable.",
        persist_state="session",
    )
    return texts[chosen]
