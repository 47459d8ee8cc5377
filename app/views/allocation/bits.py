"""Part of Allocation: what rounding does, which has to be known before bits can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.services import jobs
from app.services.analyses import has_outdated_rounding
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from engine.operations import PredictRounding

if TYPE_CHECKING:
    from engine.analysis.value import Analysis


_CHOSEN: Final = (
    "Bits are chosen by what rounding a block harms; that is predicted once from the stored statistics "
    "and a short run of the model for each kind of projection."
)

_OPENED: Final = (
    "The open map has blocks of fewer bits, and its prediction leaves out what rounding them harms until that is "
    "predicted, once."
)

_OUTDATED: Final = (
    "What an earlier version predicted is not used any more: it did not weigh rounding by kind of projection."
)


def ask_for_rounding(analysis: Analysis, *, chooses_bits: bool) -> None:
    """Offer to predict what rounding does, once, and follow it.

    Args:
        analysis: of the model.
        chooses_bits: whether bits are chosen; otherwise a map that is shown has bits of its own.
    """
    watch(PredictRounding.name, analysis.id)
    if analysis.rounding is not None:
        return
    operation = PredictRounding(analysis=analysis.id)
    button, words = st.columns([2, 5], vertical_alignment="center")
    why = _CHOSEN if chooses_bits else _OPENED
    words.caption(f"{why} {_OUTDATED}" if has_outdated_rounding(analysis.id) else why)
    if button.button("Predict what rounding does", icon=":material/play_arrow:", key="rounding.start"):
        follow(jobs.submit(operation))
        st.rerun()
    show_estimate(operation)
