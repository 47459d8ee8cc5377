"""What a view does with a deliberate error: show its sentence. Anything else is a bug and looks like one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import streamlit as st

from app.labels import plain
from cache import StoreError
from engine.errors import RankScopeError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def errors_shown() -> Iterator[None]:
    """Show an error that is meant for the user in place of what could not be done."""
    try:
        yield
    except (RankScopeError, StoreError) as error:
        st.error(plain(str(error)), icon=":material/error:")
