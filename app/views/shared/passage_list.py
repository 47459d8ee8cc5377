"""Part of several pages: passages by what they pay for a cut, and the tokens of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.wording.answers import framed
from app.wording.passages import STRONGEST_NATS, coloured

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.passages import Passage

TOKENS: Final = (
    "Every token by what the compressed model pays for it beyond the dense one, in nats. Orange: more; blue and "
    "dotted: less. Point at a token for its numbers."
)


def show_passage_list(found: Sequence[Passage], *, key: str, strongest_nats: float = STRONGEST_NATS) -> None:
    """Show passages, the most damaged first, and the tokens of that one or of the selected one.

    Args:
        found: the passages.
        key: of the elements.
        strongest_nats: the increase of a token whose colour is the strongest.
    """
    table = tables.passages(found)
    picked = st.dataframe(
        table,
        column_config={
            "place": st.column_config.NumberColumn("Passage", help="Its place in the text."),
            "damage": st.column_config.NumberColumn(
                "Nats per token", format="%+.3g", help="Mean increase of the loss."
            ),
            "start": st.column_config.TextColumn("Begins with", width="large"),
            "worst": st.column_config.TextColumn("Worst token"),
            "worst_nats": st.column_config.NumberColumn("Its nats", format="%+.3g"),
        },
        column_order=["place", "damage", "start", "worst", "worst_nats"],
        hide_index=True,
        height=215,
        key=f"{key}.table.{hash(tuple(table['place']))}",  # rows are selected by their places
        on_select="rerun",
        selection_mode="single-row",
    )
    rows = picked.selection.rows
    shown = found[rows[0] if rows else 0]
    st.markdown(f"**Passage {shown.place}**: {shown.damage:+.3g} nats per token")
    with st.container(height=360, border=True):
        st.html(framed(coloured(shown, strongest_nats), f"Passage {shown.place}, coloured by the increase of the loss"))
