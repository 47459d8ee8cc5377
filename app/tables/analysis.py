"""How an analysis was made, as a table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import pandas as pd

from app.wording.labels import WEIGHTINGS
from engine.pipeline.reading.analyses import depth_weights
from engine.results.words import TIMES, counted, duration, megabytes, percent
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis.value import Analysis


def how_analysed(analysis: Analysis) -> pd.DataFrame:
    """Return what the analysis was made of and with, one fact per row."""
    about = analysis.about
    spec, calibration = about["spec"], about["spec"]["calibration"]
    corpus, around = spec["corpus"], spec.get("around_kept_fraction")
    start = ", ".join(about.get("text_start", ())) or "no token of the tokenizer's own"
    facts = {
        "Text": about["corpus"],
        "Amount": f"{counted(corpus['n_sequences'], 'sequence')} of {corpus['length']} tokens",
        "Every sequence begins with": start,
        "Taken of": "the dense model" if around is None else f"the model compressed to {percent(around)}",
        "Weightings": ", ".join(WEIGHTINGS[Metric(name)] for name in spec["metrics"]),
        "Second moments of gradients": calibration["fisher"],
        "Type of the passes": calibration["compute_dtype"],
        "Sequences per pass": str(calibration["batch_size"]),
        "Seed": str(calibration["seed"]),
        "Damping": f"{spec['damping']:g}",
        "Shrinkage of second moments": percent(spec.get("gradient_shrinkage", 0.0)),
        "Harm by depth": _harm_by_depth(depth_weights(about)),
        "Time": ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in about["seconds"].items()),
        "Peak memory": megabytes(about["peak_memory_bytes"]),
        "Versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
        "Made": f"{datetime.fromisoformat(about['created']):%d %B %Y, %H:%M %Z}".strip(),
        "Id": analysis.id,
    }
    return pd.DataFrame(facts.items(), columns=["what", "value"])


def _harm_by_depth(weights: Mapping[str, Sequence[float]]) -> str:
    if all(weight == 1 for of_layers in weights.values() for weight in of_layers):
        return "as estimated; no compressed part of the model showed more or less"
    ranges = [f"of {kind} {min(of_layers):.2f} to {max(of_layers):.2f} {TIMES}" for kind, of_layers in weights.items()]
    return f"{' and '.join(ranges)} the estimate, by layer: compressed parts of the model were run"
