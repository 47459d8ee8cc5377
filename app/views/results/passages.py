"""Part of Results: which text pays for a cut, passage by passage and token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from app.services import measurements
from app.views.shared.passage_list import TOKENS, show_passage_list
from app.wording.labels import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rows import ResultRow


def show_passages(chosen: Sequence[ResultRow]) -> None:
    """Show the passages of one chosen run's text, the most damaged first."""
    known = {row.id: row for row in chosen if row.perplexities}
    if not known:
        return
    section = st.expander(
        "Which text pays for this cut", key="runs.passages", on_change="rerun", icon=":material/text_ad:"
    )
    if not section.open:
        return
    with section:
        row = next(iter(known.values()))
        if len(known) > 1:
            row = known[st.selectbox("Run", list(known), format_func=lambda i: tables.run_label(known[i]), width=480)]
        result = row.perplexities[0]
        if len(row.perplexities) > 1:
            titles = [one.measured_on for one in row.perplexities]
            result = row.perplexities[titles.index(st.selectbox("Text", titles, key="runs.passages.text", width=480))]
        found = measurements.passages(result)
        if found is None:
            st.caption("An earlier version measured this run and kept no single tokens; delete it to measure it anew.")
            return
        st.caption(f"On {plain(result.measured_on)}. {TOKENS}")
        show_passage_list(found, key="runs.passages")
