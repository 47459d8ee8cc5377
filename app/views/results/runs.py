"""Part of Results: every measured map as a point and as a line of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.services import measurements
from app.views.results.run_pickers import run_filter
from app.views.results.runs_frame import runs_frame
from app.wording.labels import calibrated, plain
from engine.results.columns import Role, measures, text_columns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.results.columns import Measure
    from engine.results.rows import ResultRow


def show_runs(analysis: Analysis, rows: Sequence[ResultRow]) -> None:
    """Show the maps as they are, none of them refined, with filters, the front and the predictions."""
    st.subheader("Measured maps")
    texts = text_columns(rows)
    shown = run_filter(rows, texts)
    every = measures(shown.rows)
    left, right = st.columns(2)
    with left:
        _show_front(shown.rows, every, shown.text)
    with right:
        _show_predictions(analysis, shown.rows, shown.text or (texts[0].title if texts else ""))
    columns = tables.shown_measures(every, shown.text)
    runs_frame(tables.runs(shown.rows, columns), columns)
    st.caption("Nothing here was trained. Click a heading to sort by it; the menu of the table hides columns.")


def _show_front(rows: Sequence[ResultRow], every: Sequence[Measure], text: str | None) -> None:
    st.markdown("**Quality against what it costs**")
    qualities = [
        m for m in tables.measures_of_role(rows, every, Role.QUALITY) if m.text is None or text in {None, m.text}
    ]
    costs = tables.measures_of_role(rows, every, Role.COST)
    if not qualities:
        st.caption("Nothing of these was measured.")
        return
    by_name = {m.name: m for m in (*qualities, *costs)}
    left, right = st.columns(2)

    def title(name: str) -> str:
        return by_name[name].title

    quality = left.selectbox("Quality", [m.name for m in qualities], format_func=title, key="runs.quality")
    cost = right.selectbox("Against", [m.name for m in costs], format_func=title, key="runs.cost")
    figure = charts.frontier(rows, by_name[cost], by_name[quality])
    st.plotly_chart(figure, key="runs.front", alt=f"{by_name[quality].title} against {by_name[cost].title}")
    st.caption(
        f"{plain(by_name[quality].about)} Large points, joined by the dashed line, are the Pareto front: no other "
        "measured map is as good and as cheap and in one of the two better."
    )


def _show_predictions(analysis: Analysis, rows: Sequence[ResultRow], text: str) -> None:
    st.markdown("**Predicted against measured** increase of the loss")
    column = next((one for one in text_columns(rows) if one.title == text), None)
    found = [] if column is None else [column.of(row) for row in rows if not row.is_dense]
    ids = {one.provenance.artifact.partition("/")[2] for one in found if one is not None}
    runs = [run for run in measurements.measured_runs(analysis.id) if run["id"] in ids]
    if not runs:
        st.caption("No perplexity of these was measured.")
        return
    figure = charts.predicted_against_measured(tables.results(runs))
    st.plotly_chart(figure, key="results.predicted", alt="Predicted against measured increase of the loss")
    n = max(run["prediction_calibrated_on"] for run in runs)
    st.caption(
        f"On {plain(text)}. On the dotted line the prediction is exact; above it the harm is larger than predicted. "
        f"Each prediction is {calibrated(n)}{', never on the run itself' if n else ''}; bars hold nine cases in ten."
    )
