"""What the rank board reports, checked: what belongs to a link is kept in the URL, the rest in the session."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Final

import streamlit as st

from app.components.rank_board.data import CHOSEN_BITS, DTYPES, LOWEST_KEEP, BoardState
from app.components.rank_board.held import hold_instead
from app.costed_maps import SAVED
from engine.methods.editing import holdable
from engine.methods.presets import PRESETS
from engine.rank_map.ceiling import USUAL_CONTEXT
from engine.rank_map.drafts import AskedTime, MapRequest
from engine.results.words import method_title, percent

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks

COMPARED_KEY: Final = "difference.other"
"""Of the method or saved map that the active one is compared with, in the session."""

_DEFAULT: Final = BoardState()
_ADDRESS_LAGS_S: Final = 3.0
_TIME: Final = ("ms", "device", "batch", "context")
"""Of a budget in time, in the address."""
_UNWRITTEN: Final = {"dtype": _DEFAULT.dtype, "batch": 1, "context": USUAL_CONTEXT}
"""What the address leaves out."""
_MOST_BATCH: Final = 4096
_MOST_CONTEXT: Final = 10_000_000


def board_key(analysis: Analysis) -> str:
    """Return the board's key in the session."""
    return f"board.{analysis.id[:12]}"


def chosen_budget() -> float:
    """Return the kept fraction that was chosen last, on whatever page, and write it into the URL."""
    named = _keep_in_range(st.query_params.get("keep"))
    left_s: dict[float, float] = st.session_state.setdefault("budget.left", {})
    # A request may have set out before its page knew the newest address.
    is_stale = named is not None and time.monotonic() - left_s.get(named, -math.inf) < _ADDRESS_LAGS_S
    keep = _session().keep if named is None or is_stale else named
    _choose_budget(keep)
    return keep


def remember_budget(analysis: Analysis, keep: float) -> None:
    """Take over a kept fraction chosen outside the board; it replaces a target, a time and a map made for another."""
    _choose_budget(keep)
    rebalance_from(analysis, None)
    _remember(target=None, time=None)
    for name in ("ppl", *_TIME):
        st.query_params.pop(name, None)


def board_state(analysis: Analysis, held: HeldRanks) -> BoardState:
    """Return what the board shows, and write into the URL what belongs there."""
    chosen_budget()
    url = st.query_params
    dtype = _dtype(url.get("dtype")) or _session().dtype
    named = _perplexity(url.get("ppl"))
    asked = _time({name: url.get(name) for name in _TIME}, dtype) or (None if named else _session().time)
    target = None if asked else named or _session().target
    _remember(method=active_method(), target=target, time=asked, dtype=asked.dtype if asked else dtype)
    _write_url()
    return replace(
        _session(),
        held=held,
        base=board_base(analysis),
        compare=st.session_state.get(COMPARED_KEY),
        revision=st.session_state.get(f"{board_key(analysis)}.revision", 0),
    )


def active_method() -> str:
    """Return the method whose map is shown."""
    return _method(st.query_params.get("method")) or _session().method


def activate(method: str = _DEFAULT.method) -> None:
    """Show the map of a method, without one of the default method."""
    _remember(method=method)
    st.query_params["method"] = method


def board_base(analysis: Analysis) -> MapRequest | None:
    """Return what the maps were made for when rebalancing was switched off; ``None``: it is on."""
    base: MapRequest | None = st.session_state.get(_base_key(analysis))
    return base


def rebalance_from(analysis: Analysis, base: MapRequest | None) -> None:
    """Switch rebalancing off, with the maps as they were made for ``base``; or on."""
    st.session_state[_base_key(analysis)] = base


def take_report(analysis: Analysis) -> None:
    """Take over what the board reported; what comes from a browser is checked first."""
    report = st.session_state[board_key(analysis)].get("board")
    if not isinstance(report, dict):
        return
    keep, method, held = _keep(report.get("keep")), _method(report.get("method")), _held(report.get("held"), analysis)
    if keep is None or method is None or held is None:
        return
    _choose_budget(keep)
    dtype = _dtype(report.get("dtype")) or _DEFAULT.dtype
    target, asked = _perplexity(report.get("target")), _time(report.get("time"), dtype)
    _remember(method=method, target=target, time=asked, dtype=asked.dtype if asked else dtype)
    _write_url()
    rebalance_from(analysis, _base(report.get("base"), analysis))
    compare = report.get("compare")
    # Set, not dropped: the browser keeps what it shows until it is sent another value.
    st.session_state[COMPARED_KEY] = compare if isinstance(compare, str) else None
    hold_instead(analysis.id, held)
    st.session_state[f"{board_key(analysis)}.revision"] = int(report.get("revision", 0))


def _session() -> BoardState:
    """Return what is remembered across analyses: budget, method and number type."""
    session: BoardState = st.session_state.setdefault("board", _DEFAULT)
    return session


def _remember(**changes: Any) -> None:
    st.session_state["board"] = replace(_session(), **changes)


def _choose_budget(keep: float) -> None:
    if keep != _session().keep:
        st.session_state.setdefault("budget.left", {})[_session().keep] = time.monotonic()
    _remember(keep=keep)
    st.query_params["keep"] = str(keep)


def _write_url() -> None:
    session, url = _session(), st.query_params
    url["keep"], url["method"] = str(session.keep), session.method
    asked = {} if session.time is None else asdict(session.time)
    written = {"ppl": session.target, "dtype": session.dtype, **{name: asked.get(name) for name in _TIME}}
    for name, value in written.items():
        if value in (None, _UNWRITTEN.get(name)):
            url.pop(name, None)
        else:
            url[name] = str(value)


def _base_key(analysis: Analysis) -> str:
    return f"{board_key(analysis)}.base"


def _base(given: object, analysis: Analysis) -> MapRequest | None:
    """Return what the maps were made for when rebalancing was switched off."""
    if not isinstance(given, dict):
        return None
    keep, held = _keep(given.get("keep")), _held(given.get("held"), analysis)
    if keep is None or held is None:
        return None
    timed = given.get("time")
    asked = _time(timed, _dtype(timed.get("dtype")) or _DEFAULT.dtype) if isinstance(timed, dict) else None
    return MapRequest(keep, _perplexity(given.get("target")), tuple(held.items()), asked)


def _held(given: object, analysis: Analysis) -> dict[str, int] | None:
    if not isinstance(given, dict):
        return None
    known = holdable(analysis)
    return {n: int(r) for n, r in given.items() if n in known and isinstance(r, int | float) and r >= 1}


def _keep(given: object) -> float | None:
    keep = _number(given)
    return keep if keep is not None and LOWEST_KEEP <= keep <= 1 else None


def _keep_in_range(given: object) -> float | None:
    """Return the kept fraction of an address, or the nearest there can be, with a word."""
    keep = _number(given)
    if keep is None or math.isnan(keep):
        return None
    if keep < LOWEST_KEEP:
        st.toast(f"The smallest possible is {percent(LOWEST_KEEP)} kept.")
    if keep > 1:
        st.toast(f"The largest possible is {percent(1)} kept: the dense model.")
    return min(max(keep, LOWEST_KEEP), 1.0)


def _perplexity(given: object) -> float | None:
    value = _number(given)
    return value if value is not None and 1 <= value < float("inf") else None


def _time(given: object, dtype: str) -> AskedTime | None:
    """Return a budget in time; bits are chosen for a size, so that a time has one number type."""
    if not isinstance(given, dict):
        return None
    given = {name: value for name, value in given.items() if value is not None}
    ms, device = _number(given.get("ms")), given.get("device")
    batch, context = _number(given.get("batch", 1)), _number(given.get("context", USUAL_CONTEXT))
    if ms is None or batch is None or context is None or not isinstance(device, str):
        return None
    if not 0 < ms < math.inf or not 1 <= batch <= _MOST_BATCH or not 0 <= context <= _MOST_CONTEXT:
        return None
    return AskedTime(ms, device, DTYPES[0] if dtype == CHOSEN_BITS else dtype, int(batch), int(context))


def _number(given: object) -> float | None:
    try:
        return float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _dtype(given: object) -> str | None:
    return given if isinstance(given, str) and given in (*DTYPES, CHOSEN_BITS) else None


def _method(given: object) -> str | None:
    """Return the method of a name or a title."""
    names = [*PRESETS, SAVED]
    return next((name for name in names if given in (name, method_title(name))), None)
