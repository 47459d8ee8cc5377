"""Part of Spectra: which blocks are drawn, chosen by clicking cells, by name, or a kind or layer at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

MOST_LINES: Final = 12
_PICKED: Final = "blocks"


def toggle(names: Sequence[str]) -> None:
    """Add blocks to those drawn, or take them away; the oldest give way."""
    picked: list[str] = [*st.session_state.get(_PICKED, [])]
    for name in names:
        if name in picked:
            picked.remove(name)
        else:
            picked.append(name)
    st.session_state[_PICKED] = picked[-MOST_LINES:]


def pick_blocks(table: pd.DataFrame) -> list[str]:
    """Ask which blocks of :func:`app.tables.spectra` to draw; return their names."""
    labels: dict[str, str] = dict(zip(table["name"], table["block"], strict=True))
    layers = sorted(set(table["layer"]))
    usual = _of_layer(table, layers[len(layers) // 2])
    if not set(st.session_state.get(_PICKED, [])) <= set(labels):
        st.session_state[_PICKED] = usual
    with st.container(horizontal=True):
        kind = st.menu_button("One kind over depth", list(dict.fromkeys(table["kind"])), key="spectra.kind")
        layer = st.menu_button("One layer", layers, key="spectra.layer", format_func=lambda i: f"Layer {i}")
        st.button("Clear", key="spectra.clear", on_click=_draw_nothing, type="tertiary")
    if kind is not None:
        st.session_state[_PICKED] = _of_kind(table, kind)
    if layer is not None:
        st.session_state[_PICKED] = _of_layer(table, layer)
    return st.multiselect(
        "Blocks drawn",
        list(labels),
        usual,
        format_func=labels.__getitem__,
        key=_PICKED,
        max_selections=MOST_LINES,
        placeholder="Click cells, or choose by name",
        help=f"Up to {MOST_LINES}. Blocks such as 'L0 q+k+v' share one inner factor (cat formats).",
        bind="query-params",
    )


def _draw_nothing() -> None:
    st.session_state[_PICKED] = []


def _of_layer(table: pd.DataFrame, layer: int) -> list[str]:
    return list(table.loc[(table["layer"] == layer) & ~table["joined"], "name"])[:MOST_LINES]


def _of_kind(table: pd.DataFrame, kind: str) -> list[str]:
    """Return blocks of a kind in layers spread evenly from the first to the last."""
    names = list(table.loc[table["kind"] == kind, "name"])
    places = np.unique(np.linspace(0, len(names) - 1, MOST_LINES).round().astype(int))
    return [names[place] for place in places]
