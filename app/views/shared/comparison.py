"""Part of Allocation: every method at one budget, as a table and against the budget."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.costed_maps import NoMap
from app.services import allocation
from app.views.shared.method_frames import methods_frame, quality_frame
from app.widgets.baseline import baseline
from app.wording.labels import plain
from engine.prediction.runs import predictor_on
from engine.results.words import calibrated, method_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.results.texts import MeasuredText


def compare_methods(
    analysis: Analysis, maps: Sequence[CostedMap | NoMap], text: MeasuredText | None, kept: float
) -> None:
    """Show the methods' table and their predicted curves with every measured point."""
    dense, name = dense_perplexity(analysis, text)
    predictor = predictor_on(text)
    possible = [p for p in maps if not isinstance(p, NoMap)]
    table = tables.methods(possible, text, predictor, dense)
    pinned = baseline(analysis)
    if pinned is not None and possible:
        own = tables.methods([pinned.costed], text, predictor, dense).iloc[0]
        table["mb_delta"] = table["mb"] - own["mb"]
        table["predicted_delta"] = table["predicted_ratio"] - own["predicted_ratio"]
    methods_frame(
        table,
        perplexity_of=f"On {name}, where the dense model has {dense:.2f}.",
    )
    st.caption(f"Predictions are for {name}, {calibrated(predictor.n_runs)}.")
    for reason, without in groupby((p for p in maps if isinstance(p, NoMap)), lambda p: p.reason):
        titles = ", ".join(method_title(p.method) for p in without)
        st.caption(f":material/block: {titles}: {plain(reason)}")
    with st.expander("Quality against size: every method at every budget", expanded=True):
        quality_chart(analysis, text, kept)


def quality_chart(analysis: Analysis, text: MeasuredText | None, kept: float | None) -> None:
    """Show predicted curves and measured points."""
    measured = None if text is None else tables.results(text)
    predictor = predictor_on(text)
    _, name = dense_perplexity(analysis, text)
    figure = charts.quality_curves(allocation.predicted_curves(analysis.id, predictor), kept, measured)
    st.plotly_chart(figure, key="quality", alt="Predicted perplexity over dense against kept fraction")
    on = "" if text is None else f" on {plain(text.about)}"
    st.caption(
        "Perplexity over that of the dense model (1 = no loss of quality) against the kept fraction of compressible "
        f"parameters. Lines are predicted for {name}, {calibrated(predictor.n_runs)}, without held ranks; bands are "
        f"90 % intervals. Points are measured{on}."
    )


def quality_table(analysis: Analysis, text: MeasuredText | None) -> None:
    """Show the numbers of :func:`quality_chart`."""
    curves = allocation.predicted_curves(analysis.id, predictor_on(text))
    quality_frame(tables.quality(curves, None if text is None else tables.results(text)))


def dense_perplexity(analysis: Analysis, text: MeasuredText | None) -> tuple[float, str]:
    """Return the dense perplexity that predictions are given for, and of which text it is."""
    if text is not None:
        return text.dense_perplexity, plain(text.name)
    return math.exp(analysis.calibration_nll), f"the calibration text ({plain(analysis.about['corpus'])})"
