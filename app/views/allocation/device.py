"""Part of Allocation: what the active map would cost on a device, beside the dense model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from app.wording.labels import plain
from engine.devices.known import THIS_MACHINE, devices
from engine.devices.roofline import answer, forecast
from engine.pipeline.reading.results import measured_row
from engine.precision import ROUNDED_TYPES
from engine.results.words import TIMES, megabytes
from engine.settings import home

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.devices.roofline import TokenForecast
    from engine.results.rows import ResultRow


def ask_device(analysis: Analysis, costed: CostedMap, rows: Sequence[ResultRow], dtype: str) -> None:
    """Ask for a device, and say whether the map would be faster there, and what it would take.

    Args:
        analysis: of the model.
        costed: the active map.
        rows: what was measured of the analysis.
        dtype: number type that the board gives sizes for.
    """
    known = devices(home(), dtype)
    chosen, batches, contexts = st.columns(3)
    name = chosen.selectbox("Device", list(known), format_func=lambda one: known[one].title, key="device.name")
    batch = int(batches.number_input("Sequences at once", 1, 4096, 1, key="device.batch"))
    context = int(
        contexts.number_input("Tokens of each in the cache", 0, 10_000_000, 1024, step=256, key="device.context")
    )
    device, inventory = known[name], analysis.inventory
    dense, compressed = (
        forecast(blocks, inventory, device, dtype=dtype, batch=batch, context=context)
        for blocks in ((), costed.rank_map.blocks)
    )
    st.markdown(f"**{plain(answer(dense, compressed, device))}** Predicted, not measured.")
    st.dataframe(_table(dense, compressed, batch), hide_index=True, key="device.table")
    per_token = dense.cache_bytes_per_token
    cache = "not known for this model" if per_token is None else f"{per_token:,} bytes a token, the same for both"
    operation = f"{device.kernel_s * 1e6:.3g} µs for every operation"
    st.caption(f"Keys and values: {cache}. The device: {plain(device.source)}; {operation}.")
    if dtype in ROUNDED_TYPES:
        st.caption("Weights of so few bits are that fast only where the device's program has products for them.")
    row = measured_row(rows, costed.rank_map)
    for speed in row.costs[0].speeds if row is not None and row.costs else ():
        measured = 1 / speed.decode_ratio.median
        st.caption(
            f"Measured where it was evaluated, {speed.batch_size} at once: {measured:.2f} {TIMES} the dense model's "
            "time for a token."
        )
    if THIS_MACHINE not in known:
        st.caption("To have this machine among the devices, run `rankscope devices --measure` while it is idle.")


def _table(dense: TokenForecast, compressed: TokenForecast, batch: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "Model": name,
            "Time, ms per token": f"{1e3 * one.step_s:.3g}",
            "Tokens/s": f"{batch / one.step_s:,.3g}",
            "Weights": megabytes(one.weight_bytes),
            "Cache": "" if one.cache_bytes_per_token is None else megabytes(one.cache_bytes),
            "Fits": "yes" if one.fits else "no",
        }
        for name, one in (("dense", dense), ("this map", compressed))
    )
