"""Part of Results: scores of tasks and summaries, and the summaries themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.services import measurements as measured
from app.views.results.runs_frame import differences_frame
from app.wording.labels import plain
from engine.results.columns import Role, summaries_columns, summary_measures, task_measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rows import ResultRow

_ARTICLES = 20
"""Articles that can be looked at."""


def show_scores(dense: ResultRow, chosen: Sequence[ResultRow]) -> None:
    """Show accuracies and ROUGE as bars, and how far they differ from the dense model's."""
    rows = [dense, *chosen]
    every = (*task_measures(rows), *summary_measures(rows))
    shown = [m for m in every if m.role is Role.QUALITY and any(m.of(row) is not None for row in chosen)]
    if not shown:
        st.caption("No tasks or summaries have been evaluated yet; use 'Evaluate more'.")
        return
    st.markdown("**Tasks and summaries**, dense beside compressed")
    named = {"dense model": dense} | {tables.run_label(row): row for row in chosen}
    figure = charts.score_bars(named, shown)
    st.plotly_chart(figure, key="runs.scores", alt="Accuracy per task and ROUGE-L with 95 % intervals")
    paired = tables.differences(chosen, every)
    if len(paired):
        differences_frame(paired)
        st.caption("Differences are paired by item, so their intervals are narrower than the bars suggest.")


def show_texts(chosen: Sequence[ResultRow]) -> None:
    """Show what people, the dense model and the chosen maps wrote of one article."""
    sets = [[one.of(row) for row in chosen] for one in summaries_columns(chosen)]
    if not sets:
        return
    # Texts stand side by side where they are of the same articles: those that most of the maps summarised.
    of_most = max(sets, key=lambda summaries: len(summaries) - summaries.count(None))
    written = {row.id: measured.summary_texts(one) for row, one in zip(chosen, of_most, strict=True) if one is not None}
    st.markdown("**Summaries side by side**")
    n = min(_ARTICLES, *(len(texts) for texts in written.values()))
    place = int(st.number_input(f"Article, 1 to {n}", 1, n, 1, key="runs.article", width=160)) - 1
    first = next(iter(written.values()))[place]
    with st.container(border=True):
        st.markdown("**Article**")
        st.text(f"{first.article[:1200]}{' …' if len(first.article) > 1200 else ''}")
    sides = [("Written by a person", first.reference), ("Dense model", first.dense)]
    sides += [(tables.run_label(row), written[row.id][place].compressed) for row in chosen if row.id in written]
    for column, (title, text) in zip(st.columns(len(sides)), sides, strict=True):
        with column.container(border=True, height="stretch"):
            st.markdown(f"**{plain(title)}**")
            st.text(text or "nothing")
