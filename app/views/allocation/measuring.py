"""Part of Allocation: compress with the active map, measure, and show what came out beside the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import jobs
from app.views.allocation.refining import refine_map
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.level_picker import evaluation_form
from app.wording.labels import plain
from engine.pipeline.reading.results import measured_row
from engine.rank_map.identity import map_id
from engine.results.words import calibrated, megabytes, percent, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.results.rows import PerplexityResult, ResultRow
    from engine.results.texts import MeasuredText


def measure_map(analysis: Analysis, costed: CostedMap, rows: Sequence[ResultRow], text: MeasuredText | None) -> None:
    """Offer the measurement of a map, follow it, and show what was measured of it: on ``text``, or else the newest."""
    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.empty()
        with st.popover("Evaluation settings", icon=":material/settings:", help="How thoroughly, text and amount"):
            operation = evaluation_form(
                analysis, [costed.rank_map], key="evaluate", levels=("perplexity", "quick", "full")
            )
    pressed = button.button(
        "Compress and measure",
        type="primary",
        disabled=operation is None,
        icon=":material/play_arrow:",
        help="Compresses the model with the active map and measures it; the page may be closed.",
    )
    if operation is not None:
        show_estimate(operation)
    if pressed and operation is not None:
        follow(jobs.submit(operation))
        st.rerun()
    watch("evaluate", analysis.id, costed.rank_map)
    row = measured_row(rows, costed.rank_map)
    if row is None or not row.perplexities:
        st.caption("This map has not been measured yet.")
    else:
        on_text = None if text is None else text.of(row)
        found = on_text or row.perplexities[0]
        if found.prediction is None:
            st.caption(
                f"Measured with {row.rounded_to}: perplexity {ratio(found.ratio)} on {plain(found.measured_on)}."
            )
        else:
            show_measurement(found)
        page_link("results", "This run among all measured maps", run=row.id[:12])
    _say_rounded(rows, costed)
    refine_map(analysis, costed)


def _say_rounded(rows: Sequence[ResultRow], costed: CostedMap) -> None:
    """Say what was measured of the map with rounded weights."""
    own = map_id(costed.rank_map)
    for row in rows:
        if row.map_id == own and row.weight_bits < 16 and row.perplexities:
            one = row.perplexities[0]
            st.caption(
                f"With weights rounded to {row.weight_bits} bits: {megabytes(row.model_bytes)}, perplexity "
                f"{ratio(one.ratio)} on {plain(one.measured_on)}."
            )


def show_measurement(result: PerplexityResult) -> None:
    """Show one measurement beside the dense model and the prediction."""
    predicted, dense = result.prediction, result.dense_perplexity
    assert predicted is not None
    tiles = st.columns(4)
    tiles[0].metric("Dense perplexity", f"{dense:.2f}", border=True, height="stretch")
    for tile, title, value in (
        (tiles[1], "Predicted", predicted.perplexity),
        (tiles[2], "Measured", result.perplexity),
    ):
        tile.metric(
            title,
            f"{value:.2f}",
            ratio(value / dense),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help="Perplexity; below it how many times that of the dense model.",
        )
    tiles[3].metric(
        "Same top token",
        percent(result.agreement),
        border=True,
        height="stretch",
        help="Share of positions where the compressed model's likeliest token is the dense model's.",
    )
    st.caption(
        f"On {plain(result.measured_on)}. Without this measurement "
        f"{predicted.low:.2f} to {predicted.high:.2f} was predicted, {calibrated(predicted.calibrated_on)}."
    )
