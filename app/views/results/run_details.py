"""Part of Results: chosen maps beside the dense model, in every way they were measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.services import measurements as measured
from app.views.results.evaluating import evaluate_more
from app.views.results.passages import show_passages
from app.views.results.run_actions import offer_actions
from app.views.results.run_pickers import chosen_runs
from app.views.results.run_scores import show_scores, show_texts
from app.views.results.runs_frame import provenance_frame
from app.views.shared.difference import show_map_difference
from app.views.shared.exporting import export_map
from app.widgets.baseline import baseline
from app.wording.labels import plain
from engine.prediction.instead import instead_of
from engine.results.rounding import sizes_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.notes import RunNote
    from engine.results.rows import ResultRow

_SIZES_IN: Final = "float16"
"""Number type of the sizes in the tables."""


def show_details(
    analysis: Analysis, rows: Sequence[ResultRow], refined: Sequence[ResultRow], notes: Mapping[str, RunNote]
) -> None:
    """Ask for some maps; show their scores, texts, differences and provenance, and offer to measure more."""
    st.header("In detail")
    chosen = chosen_runs(rows, notes)
    if not chosen:
        st.caption("Choose one or more runs above.")
        return
    for row in chosen:
        offer_actions(analysis, row, notes, is_alone=len(chosen) == 1)
        _say_size(rows, row)
    evaluate_more(analysis, chosen)
    if len(chosen) == 1 and not chosen[0].rounded_to:
        export_map(analysis, measured.costed_map(analysis.id, chosen[0]), _SIZES_IN)
    dense = rows[0]
    show_scores(dense, chosen)
    show_texts(chosen)
    show_passages(chosen)
    if len(chosen) == 2:
        with st.expander("Difference of the two rank maps", icon=":material/difference:"):
            before, after = (measured.costed_map(analysis.id, row).rank_map for row in chosen)
            st.caption(f"From {tables.run_label(chosen[0])} to {tables.run_label(chosen[1])}.")
            show_map_difference(analysis, before, after)
    elif (pinned := baseline(analysis)) is not None and len(chosen) == 1:
        with st.expander("Difference from the baseline", icon=":material/difference:"):
            after = measured.costed_map(analysis.id, chosen[0]).rank_map
            show_map_difference(analysis, pinned.costed.rank_map, after)
    else:
        st.caption("Choose two runs, or pin one as the baseline, to see the difference of their rank maps.")
    with st.expander("Where the numbers come from", icon=":material/fingerprint:"):
        own = {row.id for row in chosen}
        sources = [dense, *chosen, *(row for row in refined if row.map_id in own)]
        provenance_frame(tables.provenance(sources))


def _say_size(rows: Sequence[ResultRow], row: ResultRow) -> None:
    """Say what a map takes at every number of bits, and which rounded model is to be preferred, if one is."""
    st.caption(f"Whole model: {sizes_in_words(row)}.")
    instead = instead_of(rows, row)
    if instead is not None:
        st.info(plain(instead.words), icon=":material/balance:")
