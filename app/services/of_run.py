"""What is read once in a run of a page, however many of its parts ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_READ: Final = "of-run.read"


def begin_run() -> None:
    """Forget what was read: a run of the page, or of a part that refreshes itself, begins."""
    st.session_state[_READ] = {}


def of_run(name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` gave when it was first asked for under this name in the run; outside of one, read it."""
    if _READ not in st.session_state:
        return read()
    known: dict[str, T] = st.session_state[_READ]
    if name not in known:
        known[name] = read()
    return known[name]
