"""Tables as plotly figures; free of Streamlit.

Colours stay apart for the colour-blind (Okabe-Ito, cividis).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import plotly.graph_objects as go

from app.labels import TIMES, method_title
from engine.presets import PRESETS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from engine.schedules import RankSchedule

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
DASHES: Final = ("solid", "dash", "dot", "dashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
_NEUTRAL: Final = "#808080"


def method_style(title: str) -> tuple[str, str]:
    """Return the colour and marker of a method by its title; the same on every page."""
    known = [preset.title for preset in PRESETS.values()]
    place = known.index(title) if title in known else len(known)
    return OKABE_ITO[place], SYMBOLS[place]


def layer_heatmap(
    rows: pd.DataFrame,
    value: str,
    *,
    hover: Sequence[str],
    log: bool = False,
    limits: tuple[float, float] | None = None,
    colorscale: str = "Cividis",
) -> go.Figure:
    """Draw layers by kinds; every cell can be clicked (its ``customdata`` is the row's ``name``).

    Args:
        rows: with the columns layer, kind, name and ``value``; one row per cell.
        value: the column shown as colour.
        hover: one text per row.
        log: whether colours follow the logarithm; values that are not positive stay empty.
        limits: of the colours, in the value's unit.
        colorscale: a plotly name.
    """
    kinds = list(dict.fromkeys(rows["kind"]))
    layers = sorted(set(rows["layer"]))
    grid = np.full((len(layers), len(kinds)), np.nan)
    shown = rows[value].to_numpy(dtype=float)
    if log:
        shown = np.log10(np.where(shown > 0, shown, np.nan))
    for layer, kind, number in zip(rows["layer"], rows["kind"], shown, strict=True):
        grid[layers.index(layer), kinds.index(kind)] = number
    if log:
        low, high = (float(np.log10(v)) for v in limits or log_limits(rows[value].to_numpy()))
        limits = low, high
    bar: dict[str, Any] = {"orientation": "h", "thickness": 10, "y": 0, "yanchor": "top", "ypad": 12}
    if log and limits:
        bar |= _power_ticks(*limits)
    figure = go.Figure(
        go.Heatmap(
            x=kinds,
            y=layers,
            z=grid,
            zmin=limits[0] if limits else None,
            zmax=limits[1] if limits else None,
            colorscale=colorscale,
            colorbar=bar,
            xgap=1,
            ygap=1,
            hoverinfo="skip",
        )
    )
    # Heatmaps report no selection (streamlit issue 8760), so each cell carries a marker that does.
    figure.add_trace(
        go.Scatter(
            x=rows["kind"],
            y=rows["layer"],
            mode="markers",
            marker={"symbol": "square", "size": 10, "opacity": 0, "color": "#FFFFFF"},
            selected={"marker": {"opacity": 0.9}},
            unselected={"marker": {"opacity": 0}},
            customdata=rows["name"],
            hovertext=list(hover),
            hoverinfo="text",
            showlegend=False,
        )
    )
    figure.update_layout(
        height=170 + max(18 * len(layers), 110),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event+select",
        dragmode=False,
    )
    figure.update_xaxes(side="top", showgrid=False, range=[-0.5, len(kinds) - 0.5])
    figure.update_yaxes(
        title="layer",
        range=[len(layers) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        dtick=1 if len(layers) <= 16 else 5,
    )
    return figure


def spectra(energies: Mapping[str, Any], break_even: Mapping[str, int]) -> go.Figure:
    """Draw each block's energies over its total on log axes; a mark sits at its break-even rank."""
    figure = go.Figure()
    for index, (label, values) in enumerate(energies.items()):
        total = float(values.sum())
        share = values / total if total > 0 else values
        _line_with_mark(figure, index, label, share, break_even[label])
    figure.update_xaxes(title="singular value, largest first", type="log")
    figure.update_yaxes(title="share of the block's energy", type="log", exponentformat="power")
    return _tall(figure)


def cumulative_energy(energies: Mapping[str, Any], break_even: Mapping[str, int]) -> go.Figure:
    """Draw the share of its energy a block keeps at every rank."""
    figure = go.Figure()
    for index, (label, values) in enumerate(energies.items()):
        total = float(values.sum())
        kept = np.cumsum(values) / total if total > 0 else np.zeros(len(values))
        _line_with_mark(figure, index, label, kept, break_even[label])
    figure.add_hline(y=0.99, line={"dash": "dot", "color": _NEUTRAL}, annotation_text="99 %")
    figure.update_xaxes(title="rank kept")
    figure.update_yaxes(title="share of the block's energy kept", tickformat=".0%")
    return _tall(figure)


def _line_with_mark(figure: go.Figure, index: int, label: str, values: Any, mark: int) -> None:
    color = OKABE_ITO[index % len(OKABE_ITO)]
    ranks = np.arange(1, len(values) + 1)
    # A few hundred points show the same line; more would only slow the browser.
    chosen = np.unique(np.round(np.geomspace(1, len(values), 300)).astype(int)) - 1
    figure.add_trace(
        go.Scatter(
            x=ranks[chosen],
            y=values[chosen],
            mode="lines",
            name=label,
            legendgroup=label,
            line={"color": color, "dash": DASHES[index // len(OKABE_ITO) % len(DASHES)]},
            hovertemplate=f"{label}<br>rank %{{x}}: %{{y:.4~g}}<extra></extra>",
        )
    )
    if 1 <= mark <= len(values):
        figure.add_trace(
            go.Scatter(
                x=[mark],
                y=[values[mark - 1]],
                mode="markers",
                legendgroup=label,
                showlegend=False,
                marker={
                    "color": color,
                    "symbol": "diamond",
                    "size": 11,
                    "line": {"width": 1, "color": "#FFFFFF"},
                },
                hovertemplate=f"{label}<br>break-even rank {mark}<extra></extra>",
            )
        )


def score_shares(scores: pd.DataFrame, by: str, columns: Mapping[str, str]) -> go.Figure:
    """Draw how each score's total is spread over layers or kinds, so that scores compare."""
    figure = go.Figure()
    for index, (column, title) in enumerate(columns.items()):
        if not scores[column].notna().any():
            continue
        sums = scores.assign(value=scores[column].clip(lower=0)).groupby(by, sort=by == "layer")["value"].sum()
        share = sums / sums.sum() if sums.sum() > 0 else sums
        style: dict[str, Any] = {"name": title, "x": list(share.index), "y": share.to_numpy()}
        if by == "layer":
            line = {"color": OKABE_ITO[index], "dash": DASHES[index]}
            figure.add_trace(go.Scatter(**style, mode="lines+markers", line=line, marker={"symbol": SYMBOLS[index]}))
        else:
            figure.add_trace(go.Bar(**style, marker={"color": OKABE_ITO[index]}))
    figure.update_xaxes(title="layer (0 reads the input)" if by == "layer" else "kind of projection")
    figure.update_yaxes(title="share of the score's total", tickformat=".0%", rangemode="tozero")
    return _tall(figure, 340)


def quality_curves(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]], kept: float | None, measured: pd.DataFrame | None
) -> go.Figure:
    """Draw quality against size: predicted lines per method, measured points on top.

    Args:
        curves: method -> (kept fraction, predicted perplexity over dense, lowest, highest); the last two as a band.
        kept: the chosen kept fraction, drawn as a line.
        measured: as :func:`app.tables.results` returns it.
    """
    figure = go.Figure()
    for method, points in curves.items():
        title = method_title(method)
        color, _ = method_style(title)
        kept_fractions, ratios, lows, highs = (np.minimum(column, 1e6) for column in zip(*points, strict=True))
        # Between two measured maps a searched method has the smaller one, nothing in between.
        shape = "hv" if PRESETS[method].is_searched else "linear"
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([kept_fractions, kept_fractions[::-1]]),
                y=np.concatenate([lows, highs[::-1]]),
                mode="lines",
                fill="toself",
                opacity=0.15,
                line={"width": 0, "color": color},
                legendgroup=title,
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=kept_fractions,
                y=ratios,
                mode="lines",
                name=title,
                legendgroup=title,
                line={"color": color, "shape": shape},
                customdata=np.stack([lows, highs], axis=1),
                hovertemplate=(
                    f"{title}, predicted<br>%{{x:.1%}} kept: %{{y:.3f}} {TIMES} dense<br>"
                    "(%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra></extra>"
                ),
            )
        )
    if measured is not None:
        _add_measured(figure, measured)
    if kept is not None:
        figure.add_vline(x=kept, line={"dash": "dot", "color": _NEUTRAL}, annotation_text="budget")
    figure.add_hline(y=1.0, line={"dash": "dot", "color": _NEUTRAL})
    figure.update_xaxes(title="kept fraction", tickformat=".0%")
    figure.update_yaxes(title="perplexity over dense", **_ratio_axis(figure))
    return _tall(figure)


def comparison_lines(rows: pd.DataFrame, column: str) -> go.Figure:
    """Draw one measured line per method over the kept fraction.

    Args:
        rows: as :func:`app.tables.comparison` returns them.
        column: ``ratio`` or ``other_ratio``.
    """
    figure = go.Figure()
    for title in dict.fromkeys(rows["method"]):
        points = rows[rows["method"] == title].sort_values("kept")
        color, symbol = method_style(title)
        figure.add_trace(
            go.Scatter(
                x=points["kept"],
                y=points[column],
                mode="lines+markers",
                name=title,
                line={"color": color},
                marker={"symbol": symbol, "size": 9},
                hovertemplate=f"{title}, measured<br>%{{x:.1%}} kept: %{{y:.3f}} {TIMES} dense<extra></extra>",
            )
        )
    figure.add_hline(y=1.0, line={"dash": "dot", "color": _NEUTRAL})
    figure.update_xaxes(title="kept fraction", tickformat=".0%")
    figure.update_yaxes(title="perplexity over dense", **_ratio_axis(figure))
    return _tall(figure)


def _add_measured(figure: go.Figure, measured: pd.DataFrame) -> None:
    shown = {trace.name for trace in figure.data}
    for title, rows in measured[measured["method"] != "dense"].groupby("method", sort=False):
        color, symbol = method_style(str(title))
        figure.add_trace(
            go.Scatter(
                x=rows["kept"],
                y=rows["ratio"],
                mode="markers",
                name=title,
                legendgroup=title,
                showlegend=str(title) not in shown,
                marker={
                    "color": color,
                    "symbol": symbol,
                    "size": 11,
                    "line": {"width": 1, "color": "#FFFFFF"},
                },
                customdata=rows[["text", "perplexity"]].to_numpy(),
                hovertemplate=(
                    f"{title}, measured<br>%{{x:.1%}} kept: %{{y:.3f}} {TIMES} dense<br>"
                    "perplexity %{customdata[1]:.2f} on %{customdata[0]}<extra></extra>"
                ),
            )
        )


def predicted_against_measured(measured: pd.DataFrame) -> go.Figure:
    """Draw the predicted against the measured increase of the loss; on the diagonal they agree.

    The predictions are those that the other runs make; bars hold nine cases in ten.
    """
    rows = measured[measured["method"] != "dense"]
    top = 1.05 * max(float(rows[["expected_nats", "measured_nats"]].to_numpy().max()), 1e-6)
    figure = go.Figure(
        go.Scatter(
            x=[0, top],
            y=[0, top],
            mode="lines",
            name="exact",
            line={"dash": "dot", "color": _NEUTRAL},
            hoverinfo="skip",
        )
    )
    for title, group in rows.groupby("method", sort=False):
        color, symbol = method_style(str(title))
        figure.add_trace(
            go.Scatter(
                x=group["expected_nats"],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": group["expected_high"] - group["expected_nats"],
                    "arrayminus": group["expected_nats"] - group["expected_low"],
                    "color": _NEUTRAL,
                    "thickness": 1,
                },
                y=group["measured_nats"],
                mode="markers",
                name=str(title),
                marker={"color": color, "symbol": symbol, "size": 11},
                customdata=group["kept"],
                hovertemplate=(
                    f"{title}, %{{customdata:.1%}} kept<br>predicted %{{x:.4f}}, measured %{{y:.4f}}<extra></extra>"
                ),
            )
        )
    figure.update_xaxes(title="predicted, nats per token")
    figure.update_yaxes(title="measured, nats per token")
    return _tall(figure)


def active_curve(fractions: Sequence[float], schedule: RankSchedule, n_tokens: int) -> go.Figure:
    """Draw the share of the compressible parameters that produced each token, over the schedule's budgets.

    Args:
        fractions: one per token so far.
        schedule: what the model follows.
        n_tokens: most there can be, so that the axis stays while tokens come.
    """
    tokens = np.arange(1, n_tokens + 1)
    budgets = [schedule.kept_fractions[schedule.stage_at(n)] for n in range(n_tokens)]
    figure = go.Figure()
    for name, values, style in (
        ("active", list(fractions), {"color": OKABE_ITO[0], "width": 5}),
        ("budget", budgets, {"color": _NEUTRAL, "dash": "dot"}),
    ):
        figure.add_trace(
            go.Scatter(
                x=tokens[: len(values)],
                y=values,
                mode="lines",
                name=name,
                line={**style, "shape": "hv"},
                hovertemplate=f"token %{{x}}<br>{name} %{{y:.1%}} of dense<extra></extra>",
            )
        )
    figure.update_xaxes(title="generated token", range=[1, max(n_tokens, 2)])
    figure.update_yaxes(title="share of dense", tickformat=".0%", range=[0, 1.02])
    return _tall(figure, 280)


def _ratio_axis(figure: go.Figure) -> dict[str, Any]:
    """Return log-axis settings whose range holds every point and shows at least a tenth."""
    drawn = [np.asarray(trace.y, dtype=float) for trace in figure.data if trace.fill is None]
    ratios = np.concatenate([*drawn, np.ones(1)])
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    high = max(float(ratios.max()), 1.1)
    low = float(ratios.min()) / high**0.05
    # 1 is always a tick, and none comes closer to the one below than a ninth of the axis.
    room = (np.log10(high) - np.log10(low)) / 9
    shown = [1.0]
    for tick in (1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5, 1e6):
        if tick <= high * 1.1 and np.log10(tick / shown[-1]) >= room:
            shown.append(tick)
    return {
        "type": "log",
        "range": [np.log10(low), np.log10(high) * 1.05],
        "tickvals": shown,
        "ticktext": [f"{t:g} {TIMES}" for t in shown],
    }


def log_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return colour limits around the positive values, at most five powers of ten apart."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return 0.1, 1.0
    high = float(positive.max())
    return max(float(positive.min()), high * 1e-5) * 0.999, high


def _power_ticks(low: float, high: float) -> dict[str, Any]:
    """Return colour-bar ticks at powers of ten, or at the ends where the range holds too few of them."""
    powers = [float(p) for p in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    if len(powers) >= 2:
        return {"tickvals": powers, "ticktext": [f"1e{p:.0f}" for p in powers]}
    return {"tickvals": [low, high], "ticktext": [f"{10**low:.1e}", f"{10**high:.1e}"]}


def _tall(figure: go.Figure, height: int = 420) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hovermode="closest",
        barmode="group",
    )
    return figure
