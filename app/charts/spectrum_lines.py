"""The spectra of single blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.charts.style import NEUTRAL, PER_HUNDRED, depth_colours, framed, line_style, rank_ticks

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping
    from typing import Any

    _Facts = Mapping[Hashable, Mapping[Hashable, Any]]

SYMBOLS: Final = {
    "cut": "line-ns",
    "baseline": "line-ne",
    "rank_at_energy": "circle-open",
    "break_even": "diamond",
    "break_even_skip": "triangle-up",
}
"""Column of :func:`app.tables.spectra` that holds ranks -> how they are marked on a line."""


@dataclass(frozen=True, slots=True)
class Axes:
    """How lines are drawn.

    Attributes:
        title: of the vertical axis.
        log_height: whether that axis is logarithmic; zeros are left out.
        log_rank: whether the axis of ranks is.
        relative: whether ranks are drawn as percentages of each block's full rank.
    """

    title: str
    log_height: bool = False
    log_rank: bool = False
    relative: bool = False


def spectra(
    lines: pd.DataFrame,
    blocks: pd.DataFrame,
    axes: Axes,
    marks: Mapping[str, str],
    behind: pd.DataFrame,
    compared: tuple[str, pd.DataFrame] | None = None,
) -> go.Figure:
    """Draw one line per block, with its marks; blocks of one kind have colours that follow their depth.

    Args:
        lines: as :func:`app.tables.spectrum_lines` returns them.
        blocks: as :func:`app.tables.spectra` returns them; holds at least the drawn ones.
        axes: how they are drawn.
        marks: key of :data:`SYMBOLS` -> what it is called in the legend.
        behind: more lines, drawn thin and without a name; may have none.
        compared: what the same blocks' spectra elsewhere are called, and these.
    """
    traces: list[go.Scatter] = []
    facts = blocks.set_index("block").to_dict("index")
    if len(behind.columns):
        traces.append(_faint(behind, facts, axes))
    styles = _styles(lines, facts)
    for label, (color, dash) in styles.items():
        line = lines[label].dropna()
        full = facts[label]["full_rank"] / 100 if axes.relative else 1
        traces.append(
            go.Scatter(
                x=line.index / full,
                y=_heights(line, axes),
                mode="lines",
                name=label,
                legendgroup=label,
                line={"color": color, "dash": dash},
                customdata=line.index,
                hovertemplate=f"{label}<br>rank %{{customdata}}: %{{y:.4~g}}<extra></extra>",
            )
        )
        for column, meaning in marks.items():
            rank = facts[label][column]
            if pd.isna(rank) or rank < 1:
                continue
            height = float(np.interp(rank, line.index, line))
            if axes.log_height and height <= 0:
                continue
            traces.append(
                go.Scatter(
                    x=[rank / full],
                    y=[height],
                    mode="markers",
                    legendgroup=label,
                    showlegend=False,
                    marker=_mark(column, color),
                    hovertemplate=f"{label}<br>{meaning}: rank {rank:.0f}, %{{y:.4~g}}<extra></extra>",
                )
            )
    if compared is not None:
        traces += _thin(*compared, styles, axes)
    for column, meaning in marks.items():
        style = {"mode": "markers", "marker": _mark(column, NEUTRAL), "name": meaning}
        traces.append(go.Scatter(x=[None], y=[None], hoverinfo="skip", **style))
    figure = go.Figure(traces)
    highest = max((line["full_rank"] for line in facts.values()), default=1)
    figure.update_xaxes(
        title="rank over full rank" if axes.relative else "rank",
        type="log" if axes.log_rank else "linear",
        **(PER_HUNDRED if axes.relative else {}),
        **(rank_ticks(highest, relative=axes.relative) if axes.log_rank else {}),
    )
    figure.update_yaxes(
        title=axes.title,
        type="log" if axes.log_height else "linear",
        exponentformat="power",
        dtick=1 if axes.log_height else None,
    )
    return framed(figure, 420)


def _styles(lines: pd.DataFrame, facts: _Facts) -> dict[str, tuple[str, str]]:
    labels = list(lines.columns)
    if len({facts[label]["kind"] for label in labels}) == 1 and len(labels) > 1:
        depths = [facts[label]["layer"] for label in labels]
        return {label: (colour, "solid") for label, colour in zip(labels, depth_colours(depths), strict=True)}
    return {label: line_style(index) for index, label in enumerate(labels)}


def _faint(lines: pd.DataFrame, facts: _Facts, axes: Axes) -> go.Scatter:
    """Return all lines as one, with a gap between every two."""
    x, y = [], []
    for label in lines.columns:
        line = lines[label].dropna()
        x += [*(line.index / (facts[label]["full_rank"] / 100 if axes.relative else 1)), None]
        y += [*_heights(line, axes), None]
    style = {"color": NEUTRAL, "width": 0.6}
    return go.Scatter(x=x, y=y, mode="lines", line=style, opacity=0.5, hoverinfo="skip", showlegend=False)


def _thin(title: str, lines: pd.DataFrame, styles: Mapping[str, tuple[str, str]], axes: Axes) -> Iterator[go.Scatter]:
    """Return the lines of what is compared, in the colours of those they belong to, and their entry in the legend."""
    for label in lines.columns:
        line = lines[label].dropna()
        color, dash = styles[label]
        yield go.Scatter(
            x=line.index / (line.index[-1] / 100 if axes.relative else 1),
            y=_heights(line, axes),
            mode="lines",
            legendgroup=label,
            showlegend=False,
            line={"color": color, "dash": dash, "width": 1},
            customdata=line.index,
            hovertemplate=f"{label}, {title}<br>rank %{{customdata}}: %{{y:.4~g}}<extra></extra>",
        )
    yield go.Scatter(x=[None], y=[None], mode="lines", line={"color": NEUTRAL, "width": 1}, name=f"thin: {title}")


def _heights(line: pd.Series, axes: Axes) -> pd.Series:
    return line.where(line > 0) if axes.log_height else line


def _mark(column: str, color: str) -> dict[str, object]:
    is_stroke = SYMBOLS[column].startswith("line")
    return {
        "color": color,
        "symbol": SYMBOLS[column],
        "size": 16 if is_stroke else 11,
        "line": {"width": 3, "color": color} if is_stroke else {"width": 1, "color": "#FFFFFF"},
    }
