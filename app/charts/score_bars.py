"""Accuracies and ROUGE, the dense model beside compressed ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from app.charts.style import NEUTRAL, OKABE_ITO, PER_HUNDRED, framed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.results.columns import Measure
    from engine.results.rows import ResultRow


def score_bars(rows: Mapping[str, ResultRow], measures: Sequence[Measure]) -> go.Figure:
    """Draw a group of bars per score and a bar per row; thin lines are 95 % intervals.

    Args:
        rows: what each is called -> row; the dense model first.
        measures: fractions, with intervals where there are any.
    """
    figure = go.Figure()
    for place, (name, row) in enumerate(rows.items()):
        scores = [
            (measure.title.removeprefix("Accuracy: ").replace(": ", ":<br>").replace(", ", ",<br>"), measure.of(row))
            for measure in measures
        ]
        shown = [(title, one) for title, one in scores if one is not None]
        figure.add_trace(
            go.Bar(
                x=[title for title, _ in shown],
                y=[100 * one.value for _, one in shown],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [0.0 if one.high is None else 100 * (one.high - one.value) for _, one in shown],
                    "arrayminus": [0.0 if one.low is None else 100 * (one.value - one.low) for _, one in shown],
                    "color": NEUTRAL,
                    "thickness": 1.2,
                },
                name=name,
                marker={"color": NEUTRAL if row.is_dense else OKABE_ITO[(place - 1) % len(OKABE_ITO)]},
                hovertemplate=f"{name}<br>%{{x}}: %{{y:.1f}} %<extra></extra>",
            )
        )
    figure.update_yaxes(rangemode="tozero", **PER_HUNDRED)
    return framed(figure, 380)
