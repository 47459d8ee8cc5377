"""Allocation: a budget, every method's answer to it, ranks held by hand, and the measurement of the chosen map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, services, tables
from app.labels import count, megabytes, method_title, plain
from app.plans import Plan
from app.views._comparison import compare_methods
from app.views._measuring import measure_plan
from app.widgets import (
    budget_slider,
    current_analysis,
    errors_shown,
    held_ranks,
    map_upload,
    method_picker,
    option_picker,
    rank_table,
    release_all,
)

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis import Analysis

_COLOURS = {"rank_fraction": "Kept rank", "kept": "Kept parameters", "nats": "Predicted nats"}


def render() -> None:
    st.title("Allocation")
    st.caption(
        "Set a budget, compare what the methods make of it, change ranks by hand, then compress and measure."
    )
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        budget = budget_slider(analysis)
        st.caption(
            f"At most {count(budget.params)} of {count(budget.compressible_params)} compressible parameters may stay."
        )
        locks = held_ranks(analysis)
        plans = services.plans(analysis.id, budget.params, locks)
        uploaded = map_upload(analysis)
        if uploaded is not None:
            plans.append(uploaded)
        runs = services.measured_runs(analysis.id)
        compare_methods(analysis, plans, runs, budget.kept_fraction)
        st.subheader("Rank map of one method")
        method = method_picker([p.method for p in plans], key="method")
        plan = next(p for p in plans if p.method == method)
        if not isinstance(plan, Plan):
            st.error(plain(f"{method_title(method)} has no map here. {plan.reason}"))
            _release(analysis, len(locks))
            return
        measure_plan(analysis, plan, runs)
        rows = tables.projections(plan, analysis)
        _show_map(rows, plan)
        st.markdown(
            "**Ranks, projection by projection.** Type into the last column to hold a rank for every method."
        )
        rank_table(analysis, rows)
        _release(analysis, len(locks))
        name = f"{plain(plan.method)}-{plan.cost.kept_fraction:.2f}-{analysis.id[:8]}.json"
        st.download_button(
            "Download this rank map",
            plan.rank_map.to_json(),
            name.replace("\\", ""),
            "application/json",
            on_click="ignore",
            icon=":material/download:",
        )


def _release(analysis: Analysis, n_locks: int) -> None:
    if n_locks:
        st.button(
            f"Release {n_locks} held rank{'s' if n_locks > 1 else ''}",
            on_click=release_all,
            args=(analysis.id,),
            icon=":material/lock_open:",
        )


def _show_map(rows: pd.DataFrame, plan: Plan) -> None:
    colour = option_picker("Colour shows", _COLOURS, key="allocation.colour")
    meanings = {
        "rank_fraction": "rank over full rank",
        "kept": "parameters over dense",
        "nats": "predicted nats per token of the block",
    }
    hover = [
        f"{row.block} ({row.format}"
        + (f", decided as {row.decided_with}" if row.decided_with != row.block else "")
        + ")"
        f"<br>rank {row.rank} of {row.full_rank}<br>{row.kept:.1%} of its parameters<br>{row.nats:.4g} nats per token"
        for row in rows.itertuples()
    ]
    logarithmic = colour == "nats" and bool((rows["nats"] > 0).any())
    figure = charts.layer_heatmap(
        rows,
        colour,
        meaning=meanings[colour],
        hover=hover,
        log=logarithmic,
        limits=None if colour == "nats" else (0.0, 1.0),
        colorscale="Cividis" if colour == "nats" else "Viridis",
    )
    st.plotly_chart(figure, key="allocation.map", alt=f"Heatmap of {meanings[colour]} by layer and kind")
    cost = plan.cost
    st.caption(
        f"{count(cost.params)} parameters in the projections, {count(cost.model_params)} in the whole model, "
        f"{megabytes(cost.bytes_at(tables.BYTES_PER_PARAM))} at float16."
    )
