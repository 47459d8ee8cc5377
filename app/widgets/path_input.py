"""A path that is typed, with what it can go on with below it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import paths

if TYPE_CHECKING:
    from collections.abc import Sequence


def path_input(label: str, *, key: str, suffixes: Sequence[str] = ()) -> str:
    """Ask for the path of a folder, or of a file with one of the suffixes.

    Args:
        label: for people.
        key: of the text input.
        suffixes: of the files that are offered beside folders.
    """
    typed = st.text_input(label, placeholder="/ or ~ lists folders", key=key).strip()
    offered = paths.continuations(typed, suffixes)
    if offered:
        st.pills(
            "Continue with",
            offered,
            format_func=lambda path: path.rstrip("/").rpartition("/")[2] + ("/" if path.endswith("/") else ""),
            key=f"{key}.next.{typed}",
            on_change=_go_on,
            args=(key, typed),
            label_visibility="collapsed",
        )
    return typed


def _go_on(key: str, typed: str) -> None:
    """Take up the chosen path, from which the next ones follow."""
    st.session_state[key] = st.session_state[f"{key}.next.{typed}"] or typed
