"""Measurements on different texts do not compare, so that one text is shown at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.tables.measured import measured_on
from engine.prediction.runs import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def runs_of_one_text(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the measurements, newest first, on the text with the most measured maps, or on the one the user chooses.

    Predictions are steadiest on that text. Where two texts have as many the longer one is taken.
    """
    texts = [text_of(run) for run in runs]
    maps: dict[Any, set[Any]] = {text: set() for text in texts}
    lengths = {text: run["n_tokens"] for text, run in zip(texts, runs, strict=True)}
    for text, run in zip(texts, runs, strict=True):
        maps[text].add((run["metric"], run["params"], run["predicted_nats"]))
    labels = {text: measured_on(run) for text, run in zip(texts, runs, strict=True)}
    if len(set(texts)) <= 1:
        return list(runs)
    chosen = st.selectbox(
        "Measurements shown: those on",
        sorted(labels, key=lambda text: (-len(maps[text]), -lengths[text])),
        format_func=labels.__getitem__,
        key="measured-on",
        width=640,
        help="Perplexities of different texts do not compare.",
        persist_state="session",
    )
    return [run for run, text in zip(runs, texts, strict=True) if text == chosen]
