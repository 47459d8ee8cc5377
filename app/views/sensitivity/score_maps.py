"""Part of Sensitivity: the three scores side by side, or how far each is from what is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import charts, tables
from app.views.sensitivity.brushing import show_brushed
from app.views.shared.compared import colours_in_words, difference, difference_in_words
from app.widgets.beside import beside
from app.wording.labels import plain
from engine.results.words import percent

if TYPE_CHECKING:
    import pandas as pd
    from streamlit.delta_generator import DeltaGenerator

    from app.views.sensitivity.comparison import Other
    from app.widgets.colour_scale import ColourScale
    from engine.results.outcomes import MeasuredSensitivity


_TITLES = {
    "importance": "share of the total importance",
    "predicted": "predicted nats per token",
    "measured": "measured nats per token",
}
_EQUAL: Final = 1e-9
"""Scores that are less apart were computed from the same numbers."""


def show_maps(
    scores: pd.DataFrame,
    kept: float,
    measured: MeasuredSensitivity | None,
    scale: ColourScale,
    other: Other | None,
) -> None:
    """Show each score by layer and kind; the predicted and the measured one share their colours.

    Args:
        scores: of every projection, in the order to show.
        kept: fraction of its parameters that each keeps.
        measured: where the measured ones come from.
        scale: of the colours.
        other: whose scores are taken off these, if it says so.
    """
    shown = tables.importance_shares(scores)
    before = None if other is None or not other.in_heatmap else tables.importance_shares(other.scores)
    nats = charts.log_limits(shown[["predicted", "measured"]].to_numpy())
    for column, place in zip(tables.SCORES, beside("score-map", 340, 340, 340), strict=True):
        place.markdown(f"**{tables.SCORES[column]}**" + ("" if column == "importance" else f" at {percent(kept)} kept"))
        if column == "measured" and measured is None:
            place.info("Not measured yet. The button below cuts each projection alone and runs the model.")
        elif before is None:
            _show_score(place, shown, column, scale, nats)
        elif before[column].isna().all():
            place.info(f"Not measured at {percent(kept)} kept for what is compared.")
        else:
            _show_difference(place, shown, column, scale, before.set_index("name")[column])
    caption = "The two maps in nats (loss increase per token) share their colours where these are logarithmic."
    if before is not None and other is not None:
        caption = (
            f"Compared with {plain(other.title)}; logarithmic colours show how many times as high a score is here."
        )
    caption += " Drag over cells to select their projections below."
    if measured is not None:
        text = f"Measured on {plain(measured.corpus)}, {measured.n_tokens:,} tokens"
        caption += f" {text}. Cells without colour: cutting them did not raise the loss."
    st.caption(caption)


def _show_score(
    place: DeltaGenerator, shown: pd.DataFrame, column: str, scale: ColourScale, nats: tuple[float, float]
) -> None:
    in_percent, log = column == "importance", scale.is_log(shown[column].to_numpy())
    figure = charts.layer_heatmap(
        shown,
        column,
        title=f"{_TITLES[column]}<br>(dark: safe to cut)",
        hover=_hover(shown, column),
        percent=in_percent,
        log=log,
        limits=nats if log and not in_percent else None,
    )
    show_brushed(place, figure, column, f"Heatmap of {tables.SCORES[column]}")


def _show_difference(
    place: DeltaGenerator, shown: pd.DataFrame, column: str, scale: ColourScale, before: pd.Series
) -> None:
    in_percent, log = column == "importance", scale.is_log(shown[column].to_numpy())
    differences = difference(shown[column], shown["name"].map(before), is_ratio=log)
    if (differences - (1 if log else 0)).abs().max() < _EQUAL:
        place.info("The same in what is compared.")
        return
    figure = charts.layer_heatmap(
        shown.assign(difference=differences),
        "difference",
        title=f"{_TITLES[column]}<br>{colours_in_words(is_ratio=log)}",
        hover=[
            f"{text}<br>{difference_in_words(amount, is_ratio=log, percent=in_percent)}"
            for text, amount in zip(_hover(shown, column), differences, strict=True)
        ],
        percent=in_percent and not log,
        log=log,
        is_difference=True,
    )
    show_brushed(place, figure, column, f"Heatmap of differences in {tables.SCORES[column]}")


def _hover(shown: pd.DataFrame, column: str) -> list[str]:
    return [
        f"{row['block']}<br>"
        + (f"{percent(row[column], 3)} of the total" if column == "importance" else f"{row[column]:.3g} nats")
        for row in shown.to_dict("records")
    ]
