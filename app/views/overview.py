"""Overview: one model, one budget, what it costs and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import services, tables
from app.labels import calibrated, count, megabytes, method_title, percent, ratio
from app.plans import Plan, measurement_of
from app.views._comparison import quality_chart
from app.widgets import budget_slider, current_analysis, errors_shown, page_link, runs_of_one_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis import Analysis
    from engine.prediction import Predictor


def render() -> None:
    st.title("RankScope")
    st.caption("How small can this model get, and what does that cost?")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        budget = budget_slider(analysis)
        plans = [p for p in services.plans(analysis.id, budget.params) if isinstance(p, Plan)]
        tiles = st.container()
        st.subheader("Quality against size")
        runs = runs_of_one_text(services.measured_runs(analysis.id))
        quality_chart(analysis, runs, budget.kept_fraction)
        if plans:
            predictor = services.predictor(runs)
            best = min(plans, key=lambda p: predictor.predict(p.cost.nats, p.rank_map.metric).nll_increase)
            with tiles:
                _show_tiles(analysis, best, runs, predictor)
                st.caption(f"With {method_title(best.method)}, predicted to harm the model least at this budget.")
        page_link("allocation", "Compare the methods and choose the ranks")


def _show_tiles(analysis: Analysis, plan: Plan, runs: Sequence[Mapping[str, object]], predictor: Predictor) -> None:
    predicted, low, high = predictor.predict(plan.cost.nats, plan.rank_map.metric).perplexities()
    cost, inventory = plan.cost, analysis.inventory
    dense_bytes = inventory.total_params * tables.BYTES_PER_PARAM
    n_bytes = cost.bytes_at(tables.BYTES_PER_PARAM)
    run = measurement_of(plan, runs)
    measured = "not yet" if run is None else ratio(float(run["perplexity"]) / float(run["dense_perplexity"]))
    tiles = [
        (
            "Size at float16",
            megabytes(n_bytes),
            f"{percent(n_bytes / dense_bytes, 0)} of {megabytes(dense_bytes)}",
            "Weights of the whole model.",
        ),
        (
            "Multiply-adds",
            count(cost.model_params),
            f"{percent(cost.model_params / inventory.total_params, 0)} of {count(inventory.total_params)}",
            "Per token: one per parameter; attention over past tokens comes on top.",
        ),
        (
            "Predicted perplexity",
            ratio(predicted),
            f"{ratio(low)} to {ratio(high)}",
            "Times the dense model's, without running the compressed model; below it the interval that holds nine "
            f"cases in ten, {calibrated(predictor.n_runs)}.",
        ),
        (
            "Measured perplexity",
            measured,
            "over the dense one",
            "Times the dense model's, of exactly this map, compressed and run on the evaluation text.",
        ),
    ]
    for place, (label, value, note, help_text) in zip(st.columns(4), tiles, strict=True):
        place.metric(label, value, note, delta_color="off", delta_arrow="off", border=True, help=help_text)
