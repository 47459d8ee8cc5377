"""Part of Results: which text pays for a cut, passage by passage and token by token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.services import measurements
from app.wording.answers import framed
from app.wording.labels import plain
from app.wording.passages import coloured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.passages import Passage
    from engine.results.rows import ResultRow

_ABOUT: Final = (
    "Every token by what the compressed model pays for it beyond the dense one, in nats. Orange: more; blue and "
    "dotted: less. Point at a token for its numbers."
)


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
        st.caption(f"On {plain(result.measured_on)}. {_ABOUT}")
        _show_one(found)


def _show_one(found: Sequence[Passage]) -> None:
    table = tables.passages(found)
    picked = st.dataframe(
        table,
        column_config={
            "place": st.column_config.NumberColumn("Passage", help="Its place in the text."),
            "damage": st.column_config.NumberColumn(
                "Nats per token", format="%+.3f", help="Mean increase of the loss."
            ),
            "start": st.column_config.TextColumn("Begins with", width="large"),
            "worst": st.column_config.TextColumn("Worst token"),
            "worst_nats": st.column_config.NumberColumn("Its nats", format="%+.2f"),
        },
        column_order=["place", "damage", "start", "worst", "worst_nats"],
        hide_index=True,
        height=215,
        key="runs.passages.table",
        on_select="rerun",
        selection_mode="single-row",
    )
    rows = picked.selection.rows
    shown = found[rows[0] if rows else 0]
    st.markdown(f"**Passage {shown.place}**: {shown.damage:+.3f} nats per token")
    with st.container(height=360, border=True):
        st.html(framed(coloured(shown), f"Passage {shown.place}, coloured by the increase of the loss"))
