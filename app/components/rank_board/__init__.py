"""The rank board: every method's answer to a budget, computed in the browser while the pointer moves.

Two mounts: one hands the curves of an analysis to the page as bytes, which Streamlit sends once because they do not
change; the other is what people see and touch. It reports its state when the pointer is released.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app.components.joined_script import joined_script

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.components.rank_board.data import BoardInput

_HERE = Path(__file__).parent


def _join(*modules: str) -> str:
    return joined_script(*(_HERE / name for name in modules))


CURVES_SCRIPT = _join("port/curves.js", "board/shelf.js", "board/deliver.js")
PORT = (
    "formats",
    "bytes",
    "speed",
    "blocks",
    "units",
    "targets",
    "uniform",
    "flrc",
    "hull",
    "frontier",
    "methods",
    "by_hand",
    "prediction",
    "measured",
    "planner",
)
PARTS = (
    "address",
    "text",
    "history",
    "reporter",
    "difference",
    "selection",
    "map",
    "legend",
    "speed_control",
    "budget",
    "cards",
    "status",
    "tip",
)
LISTENERS = ("tools", "rows", "pointer", "keys")
BOARD_SCRIPT = _join(
    *(f"port/{name}.js" for name in PORT),
    *(f"board/{name}.js" for name in (*PARTS, *LISTENERS, "shelf", "board")),
)

_curves = st.components.v2.component("rankscope.curves", js=CURVES_SCRIPT, isolate_styles=False)
_board = st.components.v2.component(
    "rankscope.rank_board",
    html=(_HERE / "board" / "board.html").read_text(encoding="utf-8"),
    css=(_HERE / "board" / "board.css").read_text(encoding="utf-8"),
    js=BOARD_SCRIPT,
    isolate_styles=False,
)


def rank_board(board: BoardInput, curves: bytes, *, key: str, on_change: Callable[[], None]) -> None:
    """Show the board.

    Args:
        board: what changes with every run.
        curves: from :func:`app.components.rank_board.curves.encode_curves`, under the name that ``board`` gives.
        key: the reported state is ``st.session_state[key]["board"]``.
        on_change: called before the run that a released pointer causes.
    """
    _board(key=key, data=board.to_json(), on_board_change=on_change)
    hand_curves_over(curves, key=f"{key}.curves")


def hand_curves_over(curves: bytes, *, key: str) -> None:
    """Send curves to the page, where every component finds them under their name."""
    _curves(key=key, data=curves)
