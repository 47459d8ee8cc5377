"""The spectra of single blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go

from app.charts.style import NEUTRAL, framed, line_style

if TYPE_CHECKING:
    import pandas as pd

BREAK_EVEN: Final = {"break_even": ("diamond", "low-rank, cat"), "break_even_skip": ("triangle-up", "skip, skip+cat")}
"""Column of :func:`app.tables.spectra` -> marker of its break-even ranks, and the formats they belong to."""


def spectra(
    lines: pd.DataFrame,
    blocks: pd.DataFrame,
    title: str,
    *,
    log_height: bool = False,
    log_rank: bool = False,
    relative: bool = False,
) -> go.Figure:
    """Draw one line per block, with a mark at the break-even rank of each kind of format.

    Args:
        lines: as :func:`app.tables.spectrum_lines` returns them.
        blocks: as :func:`app.tables.spectra` returns them; holds at least the drawn ones.
        title: of the vertical axis.
        log_height: whether that axis is logarithmic; zeros are left out.
        log_rank: whether the axis of ranks is.
        relative: whether ranks are drawn as fractions of each block's full rank.
    """
    figure = go.Figure()
    facts = {row["block"]: row for row in blocks.to_dict("records")}
    for index, label in enumerate(lines.columns):
        line = lines[label].dropna()
        full = facts[label]["full_rank"] if relative else 1
        color, dash = line_style(index)
        figure.add_trace(
            go.Scatter(
                x=line.index / full,
                y=np.where(line > 0, line, np.nan) if log_height else line,
                mode="lines",
                name=label,
                legendgroup=label,
                line={"color": color, "dash": dash},
                customdata=line.index,
                hovertemplate=f"{label}<br>rank %{{customdata}}: %{{y:.4~g}}<extra></extra>",
            )
        )
        for column, (symbol, formats) in BREAK_EVEN.items():
            rank = facts[label][column]
            height = float(np.interp(rank, line.index, line))
            if rank < 1 or (log_height and height <= 0):
                continue
            figure.add_trace(
                go.Scatter(
                    x=[rank / full],
                    y=[height],
                    mode="markers",
                    legendgroup=label,
                    showlegend=False,
                    marker=_mark(symbol, color),
                    hovertemplate=f"{label}<br>break-even rank of {formats}: {rank}<extra></extra>",
                )
            )
    for symbol, formats in BREAK_EVEN.values():
        style = {"mode": "markers", "marker": _mark(symbol, NEUTRAL), "name": f"break-even: {formats}"}
        figure.add_trace(go.Scatter(x=[None], y=[None], hoverinfo="skip", **style))
    rank_title = "rank, as a fraction of full rank" if relative else "rank"
    figure.update_xaxes(title=rank_title, type="log" if log_rank else "linear", dtick="D2" if log_rank else None)
    figure.update_xaxes(tickformat=".0%" if relative and not log_rank else "")
    figure.update_yaxes(title=title, type="log" if log_height else "linear", exponentformat="power")
    figure.update_yaxes(dtick=1 if log_height else None)
    return framed(figure, 480)


def _mark(symbol: str, color: str) -> dict[str, object]:
    return {"color": color, "symbol": symbol, "size": 11, "line": {"width": 1, "color": "#FFFFFF"}}
