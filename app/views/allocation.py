"""Allocation: a budget, every method's answer to it, ranks held by hand, and the measurement of the chosen map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import services
from app.labels import count, method_title, plain
from app.plans import Plan
from app.views._comparison import compare_methods
from app.views._difference import show_difference
from app.views._exporting import export_plan
from app.views._measuring import measure_plan
from app.views._rank_map import show_rank_map
from app.views._saved_maps import show_saved_maps
from app.views._searching import search_maps
from app.widgets import (
    budget_slider,
    current_analysis,
    errors_shown,
    held_ranks,
    keep_held,
    method_picker,
    opened_map,
    release_all,
    restore_held,
    runs_of_one_text,
)
from engine.presets import PRESETS

if TYPE_CHECKING:
    from engine.analysis import Analysis


def render() -> None:
    st.title("Allocation")
    st.caption("Set a budget, compare what the methods make of it, change ranks by hand, then compress and measure.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        budget = budget_slider(analysis)
        dense = count(budget.compressible_params)
        st.caption(f"At most {count(budget.params)} of {dense} compressible parameters may stay.")
        restore_held(analysis)
        locks = held_ranks(analysis)
        keep_held(analysis, locks)
        plans = services.plans(analysis.id, budget.params, locks)
        opened = opened_map(analysis)
        if opened is not None:
            plans.append(opened)
        runs = services.measured_runs(analysis.id)
        compare_methods(analysis, plans, runs_of_one_text(runs), budget.kept_fraction)
        st.subheader("Rank map of one method")
        method = method_picker([p.method for p in plans], key="method")
        plan = next(p for p in plans if p.method == method)
        if method in PRESETS and PRESETS[method].is_searched:
            search_maps(analysis, budget.kept_fraction, has_map=isinstance(plan, Plan))
        if isinstance(plan, Plan):
            measure_plan(analysis, plan, runs)
            export_plan(analysis, plan)
            show_rank_map(analysis, plan)
            show_difference(analysis, plan, plans)
        else:
            st.error(plain(f"{method_title(method)} has no map here. {plan.reason}"))
        shown = plan if isinstance(plan, Plan) else None
        _offer_files_and_release(analysis, shown, len(locks))
        show_saved_maps(analysis, shown)


def _offer_files_and_release(analysis: Analysis, plan: Plan | None, n_locks: int) -> None:
    with st.container(horizontal=True):
        if plan is not None:
            st.download_button(
                "Download this rank map",
                plan.rank_map.to_json(),
                f"{plan.method.replace(' ', '-')}-{plan.cost.kept_fraction:.2f}-{analysis.id[:8]}.json",
                "application/json",
                on_click="ignore",
                icon=":material/download:",
            )
        if n_locks:
            label = f"Release {n_locks} held rank{'s' if n_locks > 1 else ''}"
            st.button(label, on_click=release_all, args=(analysis.id,), icon=":material/lock_open:")
