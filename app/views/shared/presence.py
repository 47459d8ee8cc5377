"""Whether a page is still open, which Streamlit tells nobody who does not ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

if TYPE_CHECKING:
    from collections.abc import Callable


def presence() -> Callable[[], bool]:
    """Return a function, for any thread, that says whether the page that runs now is still connected."""
    context = get_script_run_ctx()
    session_id = "" if context is None else context.session_id
    return lambda: not runtime.exists() or runtime.get_instance().is_active_session(session_id)
