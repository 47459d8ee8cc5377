"""What was measured."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from app.tables.sizes import BYTES_PER_PARAM
from app.wording.labels import REFINEMENTS, method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        found = measured[["method", "kept", "ratio"]].itertuples(index=False)
        rows += [(str(m), k, math.nan, math.nan, math.nan, ratio) for m, k, ratio in found]
    return pd.DataFrame(rows, columns=columns).sort_values(["method", "kept"], ascending=[True, False], kind="stable")


def measured_on(run: Mapping[str, Any]) -> str:
    """Return on what a measurement was made, for people; equal texts compare."""
    return f"{run['corpus']}, {run['n_tokens']:,} tokens, {run['dtype']}"


def results(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per measured map, newest first, after the dense model's row for each text."""
    measured = [
        {
            "id": run["id"],
            "method": method_title(run["method"]),
            "kept": run["kept_fraction"],
            "perplexity": run["perplexity"],
            "ratio": run["perplexity"] / run["dense_perplexity"],
            "predicted_ratio": run["predicted_perplexity"] / run["dense_perplexity"],
            "expected_nats": math.log(run["predicted_perplexity"] / run["dense_perplexity"]),
            "expected_low": math.log(run["predicted_perplexity_low"] / run["dense_perplexity"]),
            "expected_high": math.log(run["predicted_perplexity_high"] / run["dense_perplexity"]),
            "calibrated_on": run["prediction_calibrated_on"],
            "measured_nats": run["nll"] - run["dense_nll"],
            "predicted_nats": run["predicted_nats"],
            "divergence": run["divergence"],
            "agreement": run["agreement"],
            "params": run["params"],
            "mb": (run["model_params"] * BYTES_PER_PARAM + run["index_bytes"]) / 1e6,
            "text": measured_on(run),
            "metric": run["metric"],
            "created": run["created"],
        }
        for run in runs
    ]
    dense: dict[str, dict[str, Any]] = {}
    for run in runs:
        saved = run["params"] * (1 / run["kept_fraction"] - 1)
        dense.setdefault(
            measured_on(run),
            {
                "id": "",
                "method": "dense",
                "kept": 1.0,
                "perplexity": run["dense_perplexity"],
                "ratio": 1.0,
                "params": round(run["params"] + saved),
                "mb": round(run["model_params"] + saved) * BYTES_PER_PARAM / 1e6,
                "agreement": 1.0,
                "divergence": 0.0,
                "text": measured_on(run),
            },
        )
    return pd.DataFrame([*dense.values(), *measured])


def comparison(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per method and budget of a stored comparison, in its order."""
    return pd.DataFrame(
        {
            "method": method_title(row["method"]),
            "target": row["target_kept_fraction"],
            "kept": row["kept_fraction"],
            "mb": row["model_mb_float16"],
            "ratio": row["perplexity"] / row["dense_perplexity"],
            "predicted_ratio": row["predicted_perplexity"] / row["dense_perplexity"],
            "predicted_low": row["predicted_perplexity_low"] / row["dense_perplexity"],
            "predicted_high": row["predicted_perplexity_high"] / row["dense_perplexity"],
            "other_ratio": row["other_perplexity"] / row["other_dense_perplexity"]
            if "other_perplexity" in row
            else None,
            "agreement": row["agreement"],
            "search_s": row["search_s"],
        }
        for row in rows
    )


def refined(runs: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per measured map with refined factors, newest first."""
    return pd.DataFrame(
        {
            "method": method_title(run["method"]),
            "refined": REFINEMENTS[run["refinement"]["kind"]],
            "kept": run["kept_fraction"],
            "mb": (run["model_params"] * BYTES_PER_PARAM + run["index_bytes"]) / 1e6,
            "perplexity": run["perplexity"],
            "ratio": run["perplexity"] / run["dense_perplexity"],
            "divergence": run["divergence"],
            "agreement": run["agreement"],
            "text": measured_on(run),
            "created": run["created"],
        }
        for run in runs
    )
