"""What a view does with a deliberate error: show its sentence. Anything else is a bug and looks like one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import streamlit as st

from app.services import unreadable
from app.wording.labels import plain
from cache import StoreError
from engine.errors import RankScopeError

if TYPE_CHECKING:
    from types import TracebackType


class _ErrorsShown:
    """Shows an error that is meant for the user in place of what could not be done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, (RankScopeError, StoreError)):
            return False
        st.error(plain(str(error)), icon=":material/error:")
        return True


def warn_of_unreadable() -> None:
    """Name a stored result that cannot be read, since pages show the others as if it were not there."""
    if (warning := unreadable.warning()) is not None:
        st.warning(plain(warning), icon=":material/warning:")


def errors_shown() -> _ErrorsShown:
    """Show errors of the engine and the store as sentences; the rest of the block is left out."""
    return _ErrorsShown()
