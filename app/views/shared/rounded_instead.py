"""Part of several pages: which measured model with rounded weights is to be preferred to the map shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.wording.labels import plain
from engine.pipeline.reading.results import row_of
from engine.precision import bits_of
from engine.prediction.instead import instead_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def say_instead(
    analysis: Analysis,
    rank_map: RankMap,
    rows: Sequence[ResultRow],
    text: MeasuredText | None,
    dtype: str = "float16",
    unless: str = "",
) -> str:
    """Say it where there is one; return the id of its row, or an empty text.

    Args:
        analysis: of the model.
        rank_map: that is shown.
        rows: everything measured with the analysis.
        text: that quality is looked at on.
        dtype: number type of whatever has no bits of its own.
        unless: id of the row that was named already.
    """
    found = instead_of(rows, row_of(analysis, rows, rank_map, bits_of(dtype)), text)
    if found is None:
        return ""
    if found.row.id != unless:
        st.markdown(f":material/balance: {plain(found.words)}")
    return found.row.id
