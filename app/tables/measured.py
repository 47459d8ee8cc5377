"""What was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from engine.results.palette import method_place
from engine.results.words import REFINEMENTS, method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.results.comparison import ComparedMap
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def quality(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]], measured: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the points of :func:`app.charts.quality_curves`, by method and size.

    Args:
        curves: method -> (kept fraction, predicted perplexity over dense, lowest, highest).
        measured: as :func:`results` returns it.
    """
    columns = ["method", "kept", "predicted_ratio", "predicted_low", "predicted_high", "measured_ratio"]
    rows = [(method_title(m), *point, math.nan) for m, points in curves.items() for point in points]
    if measured is not None:
        points = measured[["method", "kept", "ratio"]].itertuples(index=False)
        rows += [(str(m), k, math.nan, math.nan, math.nan, ratio) for m, k, ratio in points]
    rows.sort(key=lambda row: (method_place(row[0]), row[0], -row[1]))
    return pd.DataFrame(rows, columns=columns)


def results(text: MeasuredText) -> pd.DataFrame:
    """Return the dense model and every map measured on a text, with what was to be expected of it."""
    dense = {"method": "dense", "kept": 1.0, "perplexity": text.dense_perplexity, "ratio": 1.0, "text": text.about}
    measured = []
    for row in text.rows:
        result = text.of(row)
        assert result is not None
        assert result.prediction is not None
        predicted = result.prediction
        nats = {
            f"expected_{name}": math.log(value / result.dense_perplexity)
            for name, value in (("nats", predicted.perplexity), ("low", predicted.low), ("high", predicted.high))
        }
        measured.append(
            {
                "method": method_title(row.method),
                "kept": row.size.kept_fraction,
                "perplexity": result.perplexity,
                "ratio": result.ratio,
                "measured_nats": result.increase,
                **nats,
                "text": text.about,
            }
        )
    return pd.DataFrame([dense, *measured])


def comparison(rows: Sequence[ComparedMap]) -> pd.DataFrame:
    """Return one row per method and budget of a stored comparison, in its order."""
    return pd.DataFrame(
        {
            "method": method_title(row.method),
            "target": row.target_kept_fraction,
            "kept": row.kept_fraction,
            "mb": row.model_mb_float16,
            "ratio": row.ratio,
            "predicted_ratio": row.predicted_perplexity / row.dense_perplexity,
            "predicted_low": row.predicted_perplexity_low / row.dense_perplexity,
            "predicted_high": row.predicted_perplexity_high / row.dense_perplexity,
            "other_ratio": row.other_ratio,
            "agreement": row.agreement,
            "search_s": row.search_s,
        }
        for row in rows
    )


def refined(rows: Sequence[ResultRow]) -> pd.DataFrame:
    """Return one row per perplexity measured with refined factors, newest first."""
    newest_first = sorted(
        ((row, one) for row in rows if row.refinement is not None for one in row.perplexities),
        key=lambda pair: pair[1].provenance.created,
        reverse=True,
    )
    return pd.DataFrame(
        {
            "method": method_title(row.method),
            "refined": REFINEMENTS[row.refinement or ""],
            "kept": row.size.kept_fraction,
            "mb": row.size.model_bytes["float16"] / 1e6,
            "perplexity": one.perplexity,
            "ratio": one.ratio,
            "divergence": one.divergence,
            "agreement": one.agreement,
            "text": one.measured_on,
        }
        for row, one in newest_first
    )
