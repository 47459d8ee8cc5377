"""The map that every page compares with: a saved map whose id is in the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from app import tables
from app.services import maps
from app.widgets.url_state import set_url_state, url_state
from app.wording.labels import plain
from engine.errors import RankScopeError
from engine.rank_map.named import NamedMap

if TYPE_CHECKING:
    import pandas as pd

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap


class Baseline(NamedTuple):
    """The pinned map and what it is called."""

    name: str
    costed: CostedMap


def baseline(analysis: Analysis) -> Baseline | None:
    """Return the pinned map; ``None``: none is pinned, or not one of this analysis' model."""
    pinned = url_state("baseline")
    if pinned is None:
        return None
    name = next((m.name for m in maps.all_saved(analysis.id) if isinstance(m, NamedMap) and m.id == pinned), None)
    try:
        return None if name is None else Baseline(name, maps.saved_map(analysis.id, pinned))
    except RankScopeError:
        return None


def beside_baseline(table: pd.DataFrame, analysis: Analysis, *, key: str) -> pd.DataFrame:
    """Return a table with differences from the pinned map, of all or only of other ranks; as it is without one.

    Args:
        table: one row per projection, with the columns name and rank.
        analysis: of the model.
        key: of the question whether only differences are shown.
    """
    pinned = baseline(analysis)
    if pinned is None:
        return table
    before = tables.projections(pinned.costed, analysis).set_index("name")["rank"]
    table = table.assign(delta=table["rank"] - table["name"].map(before))
    return table[table["delta"] != 0] if st.toggle("Differences only", key=key) else table


def pin_baseline(analysis: Analysis, rank_map: RankMap, name: str) -> None:
    """Compare with a map from now on; it is saved under the name if no saved map decides the same.

    Raises:
        NamedMapError: the folder cannot be written.
    """
    set_url_state("baseline", maps.saved_for(analysis.id, rank_map, name))


def show_baseline(analysis: Analysis) -> None:
    """Say what is pinned, and offer to let it go; nothing where nothing is."""
    pinned = baseline(analysis)
    if pinned is None:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f":material/push_pin: Baseline: **{plain(pinned.name)}**", width="content")
        st.button("Unpin", on_click=set_url_state, args=("baseline", None), key="baseline.unpin", type="tertiary")
