"""The saved map that is open: its id is in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.components.rank_board.held import hold_instead
from app.components.rank_board.state import activate, active_method
from app.costed_maps import SAVED
from app.services import maps as saved_maps
from app.widgets.errors import errors_shown
from app.widgets.url_state import set_url_state, url_state

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_SHOWN_WITH = "map.shown-with"


def opened_map(analysis: Analysis) -> CostedMap | None:
    """Return the open map with its cost; one that is gone or damaged is closed, with a sentence.

    To be called before the board's state is asked for, whose method a map that a link names becomes.
    """
    costed, map_id = None, url_state("map")
    if map_id is not None:
        # A map of another model closes without a word when the user moves to another analysis.
        moved = st.session_state.get(_SHOWN_WITH, analysis.id) != analysis.id
        if not moved or saved_maps.is_saved(analysis.id, map_id):
            with errors_shown():
                costed = saved_maps.saved_map(analysis.id, map_id)
    if costed is None:
        if map_id is not None:
            set_url_state("map", None)
        st.session_state.pop(_SHOWN_WITH, None)
        if active_method() == SAVED:
            activate()
        return None
    if _SHOWN_WITH not in st.session_state and "method" not in st.query_params:
        activate(SAVED)
    st.session_state[_SHOWN_WITH] = analysis.id
    return costed


def open_map(analysis: Analysis, map_id: str) -> None:
    """Open a saved map, as it was saved, and make it the active one in the run that follows."""
    hold_instead(analysis.id, {})
    set_url_state("map", map_id)
    activate(SAVED)


def close_map() -> None:
    """Go back to the methods' own maps in the run that follows."""
    set_url_state("map", None)
