"""Part of Overview: what can be done with the version that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import jobs
from app.services.evaluations import evaluation_on, usual_evaluation
from app.views.shared.sharing import share_button
from app.widgets.baseline import pin_baseline
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.wording.labels import map_label, plain
from engine.pipeline.reading.results import measured_row
from engine.results.words import ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.operations import Evaluate
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def show_next_steps(analysis: Analysis, shown: CostedMap, rows: Sequence[ResultRow], text: MeasuredText | None) -> None:
    """Offer to measure the version, to change or export it, to share it and to compare everything else with it.

    Args:
        analysis: of the model.
        shown: the version.
        rows: everything measured.
        text: whose measurements are shown.
    """
    job = jobs.watched_job("evaluate", analysis.id, shown.rank_map, None)
    row = measured_row(rows, shown.rank_map)
    missing = None if job is not None else _what_is_missing(analysis, shown, row, text)
    with st.container(horizontal=True, vertical_alignment="center"):
        if missing is not None:
            label, operation = missing
            if st.button(label, type="primary", icon=":material/play_arrow:", key="measure"):
                follow(jobs.submit(operation))
                st.rerun()
        page_link("allocation", "Compare, adjust or export")
        share_button(analysis, shown)
        if st.button("Pin as baseline", icon=":material/push_pin:", help="Every page then compares with this map."):
            pin_baseline(analysis, shown.rank_map, map_label(shown))
            st.rerun()
    if row is not None and text is not None and _is_elsewhere(row, text):
        newest = row.perplexities[0]
        st.caption(
            f"This version was measured on {plain(newest.measured_on)}: perplexity {ratio(newest.ratio)}; not on "
            f"{plain(text.about)}."
        )
    if missing is not None:
        show_estimate(missing[1])
    watch("evaluate", analysis.id, shown.rank_map)


def _is_elsewhere(row: ResultRow, text: MeasuredText) -> bool:
    """Whether a map was measured on other texts only."""
    return bool(row.perplexities) and text.of(row) is None


def _what_is_missing(
    analysis: Analysis, shown: CostedMap, row: ResultRow | None, text: MeasuredText | None
) -> tuple[str, Evaluate] | None:
    """Return what measures the tiles that are empty, and what that is called; ``None`` where nothing does."""
    comparable = evaluation_on(analysis, shown.rank_map, text)
    operation = comparable or usual_evaluation(analysis, [shown.rank_map])
    if row is None or not row.perplexities:
        return "Compress and measure this version", operation
    if text is not None and _is_elsewhere(row, text):
        return None if comparable is None else (f"Measure it on {text.title}", comparable)
    if not row.tasks or not row.costs:
        return "Measure answers and speed", operation.changed(level="quick")
    return None
