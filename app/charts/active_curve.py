"""Progressive decoding as a chart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from app.charts.style import NEUTRAL, OKABE_ITO, PER_HUNDRED, framed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.decoding.schedules import RankSchedule


def active_curve(fractions: Sequence[float], schedule: RankSchedule, n_tokens: int) -> go.Figure:
    """Draw the share of the compressible parameters behind each token, over the schedule's budgets and their mean.

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
        ("budget", budgets, {"color": NEUTRAL, "dash": "dot"}),
        ("constant, same mean", [float(np.mean(budgets))] * n_tokens, {"color": OKABE_ITO[1], "dash": "dash"}),
    ):
        figure.add_trace(
            go.Scatter(
                x=tokens[: len(values)],
                y=[100 * value for value in values],
                mode="lines",
                name=name,
                line={**style, "shape": "hv"},
                hovertemplate=f"token %{{x}}<br>{name} %{{y:.1f}} % of dense<extra></extra>",
            )
        )
    figure.update_xaxes(title="generated token", range=[1, max(n_tokens, 2)])
    figure.update_yaxes(title="share of dense", range=[0, 102], **PER_HUNDRED)
    return framed(figure, 280)
