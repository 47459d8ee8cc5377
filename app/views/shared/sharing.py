"""Part of several pages: what is known of a map as one file for people who do not run RankScope."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from app.services import measurements as measured
from app.wording.labels import slug
from engine.rank_map.identity import map_id

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis


def share_button(analysis: Analysis, costed: CostedMap, *, label: str | None = None) -> None:
    """Offer the report about a map; it is written when the button is pressed."""
    rank_map = costed.rank_map.to_json()
    st.download_button(
        label or "Share as a report",
        partial(measured.report_html, analysis.id, rank_map),
        f"rankscope-{slug(costed.method, '')[:40]}-{100 * costed.cost.kept_fraction:.0f}.html",
        "text/html",
        key=f"share.{map_id(costed.rank_map)}",
        on_click="ignore",
        icon=":material/share:",
        help="A self-contained HTML report on this map: charts, texts and numbers. Works offline and prints well.",
    )
