"""Part of Results: every measured map as a point and as a line of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import charts, tables
from app.views.results.run_pickers import choose_runs, chosen_columns, run_filter
from app.views.results.runs_frame import runs_frame
from app.widgets.baseline import baseline
from app.widgets.inputs import inputs
from app.wording.labels import plain
from engine.rank_map.identity import map_id
from engine.results.columns import Role, measures
from engine.results.rounding import ROUNDED_UP_TO
from engine.results.rows import DENSE
from engine.results.texts import measured_texts
from engine.results.words import TIMES, calibrated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.notes import RunNote
    from engine.results.columns import Measure
    from engine.results.rows import ResultRow

_ROUNDED: Final = (
    " Open points have weights rounded to 8 bits, those with a dot to 4, filled ones with a dot to bits of their own "
    "in every block; where that makes the perplexity more than "
    f"{ROUNDED_UP_TO:g} {TIMES} the dense model's, they are in the table only."
)


def show_runs(analysis: Analysis, rows: Sequence[ResultRow], notes: Mapping[str, RunNote]) -> None:
    """Show the maps as they are, none of them refined, with filters, the front and the predictions.

    A click on a point or a row shows it in detail.
    """
    st.header("Measured maps")
    texts = measured_texts(rows)
    with inputs("runs"):
        shown = run_filter(rows, texts)
    every = measures(shown.rows)
    left, right = st.columns(2)
    with left:
        _show_front(shown.rows, every, shown.text)
    with right:
        _show_predictions(shown.rows, shown.text)
    usual = tables.shown_measures(every, shown.text, some_rounded=_some_rounded(shown.rows))
    columns = chosen_columns(every, usual)
    table = tables.runs(shown.rows, columns, notes)
    pinned = baseline(analysis)
    own = None if pinned is None else map_id(pinned.costed.rank_map)
    if own in set(table["id"]):
        table = tables.beside_baseline(table, columns, str(own))
    runs_frame(table, columns, on_select=lambda: _choose_rows(list(table["id"])))
    st.caption("Nothing here was trained. Select rows, or click a point above, to see them in detail below.")


def _show_front(rows: Sequence[ResultRow], every: Sequence[Measure], text: str | None) -> None:
    st.markdown("**Quality against what it costs**")
    qualities = [
        m for m in tables.measures_of_role(rows, every, Role.QUALITY) if m.text is None or text in {None, m.text}
    ]
    costs = tables.measures_of_role(rows, every, Role.COST)
    if not qualities:
        st.caption("Nothing was measured for this selection.")
        return
    by_name = {m.name: m for m in (*qualities, *costs)}
    with inputs("front"):
        left, right = st.columns([2, 1])

    texts = {m.text for m in qualities if m.text is not None}

    def title(name: str) -> str:
        measure = by_name[name]
        return measure.title.removesuffix(f": {measure.text}") if len(texts) == 1 else measure.title

    quality = left.selectbox("Quality", [m.name for m in qualities], format_func=title, key="runs.quality")
    cost = right.selectbox("Against", [m.name for m in costs], format_func=title, key="runs.cost")
    figure = charts.frontier(rows, by_name[cost], by_name[quality])
    st.plotly_chart(
        figure,
        key="runs.front",
        on_select=_choose_points,
        selection_mode="points",
        alt=f"{by_name[quality].title} against {by_name[cost].title}",
    )
    st.caption(
        f"{plain(by_name[quality].about)} Large points, joined by the dashed line, are the Pareto front: no other "
        "measured map is at least as good and as cheap, and better in one." + (_ROUNDED if _some_rounded(rows) else "")
    )


def _some_rounded(rows: Sequence[ResultRow]) -> bool:
    return any(row.rounded_to for row in rows)


def _choose_rows(ids: Sequence[str]) -> None:
    """Show the rows that were selected in the table."""
    chosen = [ids[place] for place in st.session_state["runs"].selection.rows]
    choose_runs([row_id for row_id in chosen if row_id != DENSE])


def _choose_points() -> None:
    """Show the run whose point was clicked."""
    points = st.session_state["runs.front"].selection.points
    choose_runs([point["customdata"] for point in points if point.get("customdata") not in {None, DENSE}])


def _show_predictions(rows: Sequence[ResultRow], title: str | None) -> None:
    st.markdown("**Predicted against measured** increase of the loss")
    text = next((one for one in measured_texts(rows) if title in {None, one.title} and one.rows), None)
    if text is None:
        st.caption("No perplexity was measured for this selection.")
        return
    figure = charts.predicted_against_measured(tables.results(text))
    st.plotly_chart(figure, key="results.predicted", alt="Predicted against measured increase of the loss")
    n = max(one.prediction.calibrated_on for row in text.rows if (one := text.of(row)) and one.prediction)
    st.caption(
        f"On {plain(text.title)}. On the dotted line the prediction is perfect; above it the loss of quality is "
        f"larger than predicted. Each prediction is {calibrated(n)}{', never on the run itself' if n else ''}; "
        "bars are 90 % intervals."
    )
