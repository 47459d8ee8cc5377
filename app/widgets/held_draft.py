"""Changes by hand that survive a reload: kept as a draft whose id is in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.components.rank_board.held import held_ranks, hold_instead
from app.components.rank_board.state import board_base, rebalance_from
from app.services import maps as saved_maps
from app.widgets.url_state import set_url_state, url_state
from engine.rank_map.drafts import Draft

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks

_SEEN = "held.drafts-seen"


def held_across_reloads(analysis: Analysis) -> HeldRanks:
    """Return the ranks held by hand, after a reload those that its address names, and keep them for the next one."""
    _restore(analysis)
    held = held_ranks(analysis)
    _keep(analysis, held)
    return held


def _restore(analysis: Analysis) -> None:
    """Take up what was changed by hand where a link or a reload names it.

    A draft this session has shown is never taken up again: a request may carry an older URL than the last edit.
    """
    named = url_state("held")
    seen: set[str] = st.session_state.setdefault(_SEEN, set())
    if named is None or named in seen:
        return
    seen.add(named)
    draft = saved_maps.recall_draft(analysis.id, named)
    if draft is None:
        st.warning("The held ranks that this link names are no longer on this machine.", icon=":material/lock_open:")
        return
    hold_instead(analysis.id, dict(draft.held))
    rebalance_from(analysis, draft.base)


def _keep(analysis: Analysis, held: HeldRanks) -> None:
    draft = Draft(dict(held), board_base(analysis))
    if draft == Draft():
        set_url_state("held", None)
        return
    named = saved_maps.keep_draft(analysis.id, draft)
    st.session_state.setdefault(_SEEN, set()).add(named)
    set_url_state("held", named)
