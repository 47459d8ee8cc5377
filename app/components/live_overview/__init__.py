"""The Overview's slider with what it changes: sentence, tiles and chart follow the pointer in the browser.

It allocates with the rank board's port, from the same curves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.components import rank_board
from app.components.joined_script import joined_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.components.live_overview.data import OverviewInput

_BOARD: Final = Path(rank_board.__file__).parent
_PAGE: Final = Path(__file__).parent / "page"
_PARTS: Final = ("words", "outcome", "tiles", "device", "symbols", "chart", "overview")
SCRIPT: Final = joined_script(
    *(_BOARD / "port" / f"{name}.js" for name in rank_board.PORT),
    _BOARD / "board" / "text.js",
    _BOARD / "board" / "shelf.js",
    *(_PAGE / f"{name}.js" for name in _PARTS),
)

_overview = st.components.v2.component(
    "rankscope.overview",
    html=(_PAGE / "overview.html").read_text(encoding="utf-8"),
    css=(_PAGE / "overview.css").read_text(encoding="utf-8"),
    js=SCRIPT,
    isolate_styles=False,
)


def live_overview(overview: OverviewInput, curves: bytes, *, key: str, on_change: Callable[[], None]) -> None:
    """Show the slider, the sentence, the tiles and the chart.

    Args:
        overview: what changes with every run.
        curves: of the analysis, as the rank board has them.
        key: what is chosen is ``st.session_state[key]["chosen"]``: ``keep`` and ``revision``.
        on_change: called before the run that a released pointer causes.
    """
    _overview(key=key, data=overview.to_json(), on_chosen_change=on_change)
    rank_board.hand_curves_over(curves, key=f"{key}.curves")
