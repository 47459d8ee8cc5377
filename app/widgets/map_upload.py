"""A rank map from a file, beside the methods' own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import services
from app.widgets.errors import errors_shown

if TYPE_CHECKING:
    from app.plans import Plan
    from engine.analysis import Analysis


def map_upload(analysis: Analysis) -> Plan | None:
    """Ask for a rank map; return it once it has been checked against the analysed model.

    A map that was accepted stays while the session lasts, also when the page changes.
    """
    kept: dict[str, bytes] = st.session_state.setdefault("uploaded-maps", {})
    with st.popover("Compare a rank map from a file", icon=":material/upload_file:", type="tertiary"):
        file = st.file_uploader("Rank map (.json)", ["json"], key=f"upload.{analysis.id[:12]}", max_upload_size=5)
        if file is not None:
            with errors_shown():
                plan = services.uploaded_plan(analysis.id, file.getvalue())
                kept[analysis.id] = file.getvalue()
                st.success("It fits this model: choose 'uploaded map' as the active method.")
                return plan
            return None
        if analysis.id in kept and st.button("Forget the uploaded map"):
            del kept[analysis.id]
    return services.uploaded_plan(analysis.id, kept[analysis.id]) if analysis.id in kept else None
