"""Part of several pages: what is known of a map as one file for people who do not run RankScope."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.services import measurements as measured
from engine.rank_map.identity import map_id

if TYPE_CHECKING:
    from app.plans import Plan
    from engine.analysis.value import Analysis


def share_button(analysis: Analysis, plan: Plan, *, label: str | None = None) -> None:
    """Offer the report about a plan; it is written when the button is pressed."""
    rank_map = plan.rank_map.to_json()
    st.download_button(
        label or "Share as a report",
        partial(measured.report_html, analysis.id, rank_map),
        f"rankscope-{re.sub(r'[^A-Za-z0-9]+', '-', plan.method)[:40]}-{100 * plan.cost.kept_fraction:.0f}.html",
        "text/html",
        key=f"share.{map_id(plan.rank_map)}",
        on_click="ignore",
        icon=":material/share:",
        help="A self-contained HTML report on this map: charts, texts and numbers. Works offline and prints well.",
    )
