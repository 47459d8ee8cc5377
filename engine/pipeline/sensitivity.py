"""Measure how much the loss grows when single projections are truncated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache import write_json
from engine.evaluation.sensitivity import measure_sensitivity
from engine.model.opening import type_for_passes
from engine.pipeline import keys
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.documents import read_document
from engine.pipeline.sequences import sequences_fingerprint
from engine.progress import part_of
from engine.results.outcomes import MeasuredSensitivity

if TYPE_CHECKING:
    from engine.progress import Report
    from engine.settings import Home
    from engine.specs import CorpusSpec


def measure_each_projection(
    home: Home,
    analysis_id: str,
    corpus: CorpusSpec,
    kept_fraction: float,
    report: Report,
    *,
    compute_dtype: str = "float32",
    device: str = "auto",
) -> MeasuredSensitivity:
    """Measure the loss increase of every projection cut alone and store it, or return what is stored.

    Raises:
        RankScopeError: the analysis, its model or the text is not there any more, or not the same.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    metric = analysis.default_metric
    dtype = type_for_passes(compute_dtype)
    opened = open_analysis(home, analysis, part_of(report, 0.0, 0.05), dtype=dtype, device=device)
    sequences = sequences_fingerprint(opened.folder, corpus)
    key = keys.sensitivity_key(analysis.id, sequences, kept_fraction, metric, compute_dtype)
    if key not in store:
        tokens = opened.sequences(corpus, part_of(report, 0.05, 0.1))
        increases = measure_sensitivity(
            opened.dense.module,
            opened.dense.inventory,
            tokens,
            opened.rank_factors(metric),
            kept_fraction,
            part_of(report, 0.1, 1.0),
            compute_dtype=compute_dtype,
        )
        with store.writing(key, {"analysis": analysis.id, "corpus": corpus.label}) as into:
            document = MeasuredSensitivity(corpus.label, kept_fraction, metric, tokens.numel(), increases)
            write_json(into / "sensitivity.json", document)
    return read_document(MeasuredSensitivity, store.read(key))
