"""Part of Spectra: which blocks are drawn, chosen by clicking cells, by name, or a kind or layer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

MOST_LINES = 12
_PICKED = "spectra.picked"


def pick(names: Sequence[str]) -> None:
    """Add blocks to those drawn; the oldest give way."""
    st.session_state[_PICKED] = list(dict.fromkeys([*st.session_state.get(_PICKED, []), *names]))[-MOST_LINES:]


def pick_blocks(table: pd.DataFrame) -> list[str]:
    """Ask which blocks of :func:`app.tables.spectra` to draw; return their names."""
    labels: dict[str, str] = dict(zip(table["name"], table["block"], strict=True))
    layers = sorted(set(table["layer"]))
    if not set(st.session_state.get(_PICKED, [""])) <= set(labels):
        _draw_layer(table, layers[len(layers) // 2])
    with st.container(horizontal=True):
        kind = st.menu_button("One kind over depth", list(dict.fromkeys(table["kind"])), key="spectra.kind")
        layer = st.menu_button("One layer", layers, key="spectra.layer", format_func=lambda i: f"Layer {i}")
        st.button("Clear", key="spectra.clear", on_click=_draw_nothing, type="tertiary")
    if kind is not None:
        _draw_kind(table, kind)
    if layer is not None:
        _draw_layer(table, layer)
    return st.multiselect(
        "Blocks drawn",
        list(labels),
        format_func=labels.__getitem__,
        key=_PICKED,
        max_selections=MOST_LINES,
        placeholder="Click cells above, or choose by name",
        help=f"Up to {MOST_LINES}. Blocks such as 'L0 q+k+v' share one inner factor (cat formats).",
    )


def _draw_nothing() -> None:
    st.session_state[_PICKED] = []


def _draw_layer(table: pd.DataFrame, layer: int) -> None:
    names = table.loc[(table["layer"] == layer) & ~table["joined"], "name"]
    st.session_state[_PICKED] = list(names)[:MOST_LINES]


def _draw_kind(table: pd.DataFrame, kind: str) -> None:
    """Draw a kind in layers spread evenly from the first to the last."""
    names = list(table.loc[table["kind"] == kind, "name"])
    places = np.unique(np.linspace(0, len(names) - 1, MOST_LINES).round().astype(int))
    st.session_state[_PICKED] = [names[place] for place in places]
