"""What the rank board reports: budget and method, kept in the URL, and held ranks, kept in the session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from app.labels import method_title
from app.plans import SAVED
from app.widgets.rank_table import hold_instead
from engine.presets import PRESETS

if TYPE_CHECKING:
    from engine.analysis import Analysis

_DEFAULT: Final[dict[str, Any]] = {"keep": 0.8, "method": "water-filling"}
_LOWEST_KEEP = 0.1


def board_key(analysis: Analysis) -> str:
    """Return the board's key in the session."""
    return f"board.{analysis.id[:12]}"


def remember_budget(keep: float) -> None:
    """Let the board open at a budget that was chosen on another page."""
    _session()["keep"] = keep


def board_state(analysis: Analysis) -> dict[str, Any]:
    """Return ``keep``, ``method`` and ``revision``, and write the first two into the URL."""
    session, url = _session(), st.query_params
    session["keep"] = _keep(url.get("keep")) or session["keep"]
    session["method"] = active_method()
    url["keep"], url["method"] = str(session["keep"]), session["method"]
    return {**session, "revision": st.session_state.get(f"{board_key(analysis)}.revision", 0)}


def active_method() -> str:
    """Return the method whose map is shown."""
    return _method(st.query_params.get("method")) or str(_session()["method"])


def activate(method: str = str(_DEFAULT["method"])) -> None:
    """Show the map of a method, of the default one unless told."""
    _session()["method"] = method
    st.query_params["method"] = method


def take_report(analysis: Analysis) -> None:
    """Take over what the board reported; what comes from a browser is checked first."""
    report = st.session_state[board_key(analysis)].get("board")
    if not isinstance(report, dict):
        return
    keep, method, held = _keep(report.get("keep")), _method(report.get("method")), report.get("held")
    if keep is None or method is None or not isinstance(held, dict):
        return
    st.session_state["board"] = {"keep": keep, "method": method}
    st.query_params["keep"], st.query_params["method"] = str(keep), method
    ranks = {n: int(r) for n, r in held.items() if n in analysis.projections and isinstance(r, int | float) and r >= 1}
    hold_instead(analysis.id, ranks)
    st.session_state[f"{board_key(analysis)}.revision"] = int(report.get("revision", 0))


def _session() -> dict[str, Any]:
    session: dict[str, Any] = st.session_state.setdefault("board", dict(_DEFAULT))
    return session


def _keep(given: object) -> float | None:
    try:
        keep = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return keep if _LOWEST_KEEP <= keep <= 1 else None


def _method(given: object) -> str | None:
    """Return the method of a name or a title."""
    names = [*PRESETS, SAVED]
    return next((name for name in names if given in (name, method_title(name))), None)
