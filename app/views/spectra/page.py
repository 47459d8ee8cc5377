"""Spectra: how fast the singular values of every projection fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.costed_maps import NoMap
from app.pages import page_link
from app.services import analyses
from app.views.shared.current_map import current_map
from app.views.spectra.all_lines import show_all
from app.views.spectra.block_choice import pick_blocks
from app.views.spectra.block_table import show_table
from app.views.spectra.choices import choose
from app.views.spectra.comparison import choose_other
from app.views.spectra.heads import show_heads
from app.views.spectra.spectrum_lines import ALL, HEADS, choose_lines, show_lines
from app.views.spectra.summary_map import say_compressible, show_map
from app.widgets.analysis_picker import current_analysis
from app.widgets.baseline import baseline
from app.widgets.beside import beside
from app.widgets.errors import errors_shown
from app.widgets.inputs import inputs
from engine.results.words import method_title, percent

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from app.widgets.baseline import Baseline

_ABOUT: Final = "A projection whose singular values fall fast can be stored as two thin matrices with little loss."


def render() -> None:
    st.title("Spectra", help=_ABOUT)
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        choices = choose(analysis)
        current = current_map(analysis)
        summaries = analyses.spectrum_summaries(analysis.id, choices.metric)
        at_energy = analyses.ranks_at_energy(analysis.id, choices.metric, choices.energy)
        table = tables.spectra(analysis, summaries, at_energy, _cuts(current))
        pinned = baseline(analysis)
        if pinned is not None:
            table["baseline"] = table["name"].map(_cuts(pinned.costed))
        say_compressible(table, choices)
        energies, marks = analysis.energies[choices.metric], _marks(current, pinned, choices.energy)
        left, right = beside("spectra", 400, 640)
        with right:
            with inputs("lines", are_options=True):
                quantity, axes = choose_lines()
                other = choose_other(analysis, choices)
            shown = st.container(key="chart-spectra")
            shown.empty()  # a container without an element has no place
            picked = pick_blocks(table)
        with shown:
            if quantity == HEADS:
                show_heads(analysis, choices, _cuts(current))
            elif quantity == ALL:
                show_all(energies, table, marks)
            else:
                show_lines(energies, table, picked, marks, quantity, axes, other)
        with left:
            show_map(table, choices, picked, other)
        show_table(table, choices.energy)
        with st.container(horizontal=True):
            page_link("sensitivity", "Which projections matter most")
            page_link("allocation", "Choose ranks")


def _cuts(current: CostedMap | NoMap) -> dict[str, int]:
    """Return the rank of every block that the map cuts, by block name."""
    if isinstance(current, NoMap):
        return {}
    return {block.name: block.rank for block in current.rank_map.blocks if block.rank is not None}


def _marks(current: CostedMap | NoMap, pinned: Baseline | None, energy: float) -> dict[str, str]:
    """Return what the ranks marked on lines are called, by column of the table."""
    marks = {
        "rank_at_energy": f"{percent(energy)} energy",
        "break_even": "break-even of low-rank, cat",
        "break_even_skip": "break-even of skip, skip+cat",
    }
    if pinned is not None:
        marks = {"baseline": f"cut by the baseline, {pinned.name}", **marks}
    if isinstance(current, NoMap):
        return marks
    return {"cut": f"cut by {method_title(current.method)}, {percent(current.cost.kept_fraction)} kept", **marks}


render()
