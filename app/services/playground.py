"""The one playground of all visitors."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from engine.playground import Playground
from engine.settings import home


def playground() -> Playground:
    """Return what the models are asked through; one for all visitors."""
    return _playground(home().root)


@st.cache_resource(show_spinner=False, on_release=Playground.close)
def _playground(root: Path) -> Playground:
    return Playground(root)
