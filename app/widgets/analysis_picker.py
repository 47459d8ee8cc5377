"""Which analysis the pages show: kept in the URL, and in the session when pages change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import analyses
from app.widgets.baseline import show_baseline
from app.widgets.inputs import inputs
from app.widgets.job_progress import watch
from app.widgets.welcome import CHOICE_KEY, GONE_KEY, show_first_steps, welcome
from app.wording.labels import plain

if TYPE_CHECKING:
    from engine.analysis.value import Analysis

_URL_DIGITS = 12


def current_analysis(*, explain: bool = True, is_compact: bool = False) -> Analysis | None:
    """Ask for an analysis and return it; show what to do where there is none.

    Args:
        explain: whether to say what to do; ``None`` is returned either way.
        is_compact: whether the question stands beside a title, without a label above it.

    Raises:
        StoreError: it is damaged.
    """
    headings = {h.id: h for h in analyses.analysis_headings()}
    ids = list(headings)
    wanted = st.query_params.get("analysis") or st.session_state.get(CHOICE_KEY, "")
    matching = [
        place
        for place, heading in enumerate(headings.values())
        if wanted and any(known.startswith(wanted) for known in (heading.id, *heading.replaces))
    ]
    if wanted and not matching:
        st.session_state[GONE_KEY] = wanted[:_URL_DIGITS]
    _explain_absence(is_replaced=bool(ids))
    if not headings:
        if explain:
            explain_emptiness()
        return None
    place = st.container() if is_compact else inputs("analysis")
    chosen = place.selectbox(
        "Analysis",
        ids,
        matching[0] if matching else 0,
        format_func=lambda i: headings[i].label,
        help="Spectra, sensitivities and curves of one model on one calibration text. The newest comes first; models "
        "that were narrowed on the way to smaller ones come last.",
        on_change=st.session_state.pop,
        args=(GONE_KEY, None),
        width=960,
        label_visibility="collapsed" if is_compact else "visible",
    )
    st.session_state[CHOICE_KEY] = chosen
    if st.query_params.get("analysis") != chosen[:_URL_DIGITS]:
        st.query_params["analysis"] = chosen[:_URL_DIGITS]
    analysis = analyses.analysis(chosen)
    show_baseline(analysis)
    return analysis


def _explain_absence(*, is_replaced: bool) -> None:
    """Say, until another one is chosen, that the analysis that was open is gone."""
    if GONE_KEY not in st.session_state:
        return
    gone = plain(st.session_state[GONE_KEY])
    instead = "the newest one is shown instead." if is_replaced else "nothing else was analysed."
    st.warning(
        f"Analysis {gone} is no longer here (deleted, or kept in another place); {instead}",
        icon=":material/delete:",
    )


def explain_emptiness() -> None:
    """Say what to do, or what is done, where nothing was analysed yet."""
    running = watch("analyse")
    if running is None or running.status.is_final:
        welcome()
        page_link("model", "Analyse your own model")
    else:
        show_first_steps(running)
        st.caption("This page updates when the analysis is done.")
