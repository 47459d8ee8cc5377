"""Held ranks that survive a reload: kept as a draft whose id is in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.components.rank_board.held import hold_instead
from app.services import maps as saved_maps
from app.widgets.url_state import set_url_state, url_state

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks

_SEEN = "held.drafts-seen"


def restore_held(analysis: Analysis) -> None:
    """Take up the held ranks that a link or a reload names; to be called before they are asked for.

    A draft this session has shown is never taken up again: a request may carry an older URL than the last edit.
    """
    draft = url_state("held")
    seen: set[str] = st.session_state.setdefault(_SEEN, set())
    if draft is None or draft in seen:
        return
    seen.add(draft)
    held = saved_maps.recall_held(analysis.id, draft)
    if held is None:
        st.warning("The held ranks that this link names are no longer on this machine.", icon=":material/lock_open:")
        return
    hold_instead(analysis.id, held)


def keep_held(analysis: Analysis, held: HeldRanks) -> None:
    """Keep the ranks held now, so that a reload or a link shows them again."""
    if not held:
        set_url_state("held", None)
        return
    draft = saved_maps.keep_held(analysis.id, held)
    st.session_state.setdefault(_SEEN, set()).add(draft)
    set_url_state("held", draft)
