"""Part of Overview: what the dense and a compressed model write of the same text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from app.services import measurements, playground
from app.views.shared.presence import presence
from app.widgets.url_state import url_state
from app.wording.answers import titles_of
from app.wording.labels import plain
from engine.playground import AnswerStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.playground import Answer
    from engine.results.rows import ResultRow

_MOST_CHARACTERS = 600


def show_sample(rows: Sequence[ResultRow], kept_fraction: float) -> None:
    """Show the last answer of the Playground, or else a summary of the map that is closest in size."""
    answer = _last_answer()
    if answer is not None:
        before, after = titles_of(answer.question.title, answer.question.instead_title)
        _show(
            "The last prompt of the Playground",
            [
                ("Prompt", answer.question.prompt),
                (before, answer.dense.text),
                (after, answer.compressed.text),
            ],
        )
        return
    summarised = [row for row in rows if row.summaries and row.is_plain]
    if summarised:
        nearest = min(summarised, key=lambda row: abs(row.size.kept_fraction - kept_fraction))
        first, *_ = measurements.summary_texts(nearest.summaries[0])
        _show(
            "An article, summarised by both models",
            [
                ("Article", first.article),
                ("Dense model", first.dense),
                (f"Compressed: {tables.run_label(nearest)}", first.compressed),
            ],
        )


def _last_answer() -> Answer | None:
    answer_id = url_state("answer")
    answer = None if answer_id is None else playground.playground().answer(answer_id, presence())
    return answer if answer is not None and answer.status is AnswerStatus.DONE else None


def _show(title: str, sides: Sequence[tuple[str, str]]) -> None:
    st.header("Does it still answer?")
    st.caption(f"{title}; not selected for its result.")
    for column, (name, text) in zip(st.columns(len(sides)), sides, strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{plain(name)}**")
            st.text(text[:_MOST_CHARACTERS] + (" …" if len(text) > _MOST_CHARACTERS else "") or "(nothing)")
