"""What belongs to a link: in the URL on every page, and in the session because a change of page empties the URL."""

from __future__ import annotations

from typing import Final

import streamlit as st

CARRIED: Final = ("map", "held", "answer", "baseline", "present")


def carry_url_state() -> None:
    """Take up what the URL says, and write back what a change of page dropped; once per run, before the page."""
    for name in CARRIED:
        value = st.query_params.get(name)
        if value:
            st.session_state[_key(name)] = value
        elif st.session_state.get(_key(name)):
            st.query_params[name] = st.session_state[_key(name)]


def url_state(name: str) -> str | None:
    """Return a carried value."""
    value = st.session_state.get(_key(name))
    return None if value is None else str(value)


def set_url_state(name: str, value: str | None) -> None:
    """Change a carried value in the URL and in the session."""
    if value is None:
        st.session_state.pop(_key(name), None)
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value or url_state(name) != value:
        st.session_state[_key(name)] = value
        st.query_params[name] = value


def _key(name: str) -> str:
    return f"url.{name}"
