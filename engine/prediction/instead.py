"""Whether a measured model with rounded weights is the better choice than a map; one rule for pages and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.prediction.runs import predictor_on
from engine.results.rounding import Chosen, rounded_instead
from engine.results.rows import DENSE
from engine.results.texts import measured_texts
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.rounding import Instead
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def instead_of(rows: Sequence[ResultRow], row: ResultRow, text: MeasuredText | None = None) -> Instead | None:
    """Return which rounded model is to be preferred to a map; ``None``: none that was measured is.

    Args:
        rows: everything measured with the analysis.
        row: of the map, measured or not; nothing is preferred to the dense model, rounded or not.
        text: that quality is looked at on; ``None``: the first on which there is something to say, of those that the
            map was measured on if it was on any.
    """
    if row.method == DENSE:
        return None
    every = measured_texts(rows) if text is None else (text,)
    for each in tuple(one for one in every if one.of(row) is not None) or every:
        if (instead := rounded_instead(rows, each, _chosen(row, each))) is not None:
            return instead
    return None


def _chosen(row: ResultRow, text: MeasuredText) -> Chosen:
    found = text.of(row)
    if found is not None:
        return Chosen(row.rank_map, row.model_bytes, found.ratio)
    assert row.metric is not None
    expected, _, high = predictor_on(text).predict(row.size.predicted_nats, Metric(row.metric)).perplexities()
    return Chosen(row.rank_map, row.model_bytes, expected, high)
