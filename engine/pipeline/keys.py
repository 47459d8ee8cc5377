"""Keys of every artifact, and what an artifact's upstream is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cache import Key, fingerprint
from engine.specs import AnalysisSpec, EvaluationSpec, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rank_map import RankMap
    from engine.types import Metric

SCHEMA_VERSION = 1


def _key(stage: str, spec: object, upstream: Sequence[str]) -> Key:
    return Key(stage, fingerprint(stage, spec, upstream, schema_version=SCHEMA_VERSION))


def statistics_key(spec: AnalysisSpec, layer: int, model: str, corpus: str) -> Key:
    """Moments of one layer; those around a compressed model also depend on how its factors were damped."""
    around = spec.around_kept_fraction
    where = {} if around is None else {"around_kept_fraction": around, "damping": spec.damping}
    return _key("statistics", {"calibration": spec.calibration, "layer": layer, **where}, [model, corpus])


def factors_key(statistics: Key, metric: Metric, damping: float) -> Key:
    """Factors and spectra of one layer in one metric."""
    return _key("factors", {"metric": metric, "damping": damping}, [statistics.fingerprint])


def spectrum_key(statistics: Key, metric: Metric, damping: float) -> Key:
    """Spectra alone of one layer in one metric."""
    return _key("spectrum", {"metric": metric, "damping": damping}, [statistics.fingerprint])


def analysis_key(spec: AnalysisSpec, model: str, corpus: str) -> Key:
    """The assembled analysis; model and corpus enter by fingerprint, not by where they lie."""
    anonymous = replace(spec, model=ModelSpec(spec.model.source), corpus=replace(spec.corpus, location=""))
    return _key("analysis", anonymous, [model, corpus])


def reference_key(spec: EvaluationSpec, model: str, corpus: str) -> Key:
    """The dense model's predictions on an evaluation text."""
    anonymous = replace(spec, corpus=replace(spec.corpus, location=""))
    return _key("reference", anonymous, [model, corpus])


def evaluation_key(rank_map: RankMap, analysis: str, reference: Key) -> Key:
    """A measured rank map; its method's name does not matter, its blocks and metric do."""
    decided = sorted([*b.members, b.format, b.rank or 0] for b in rank_map.blocks if b.rank is not None)
    return _key("evaluation", {"blocks": decided, "metric": rank_map.metric}, [analysis, reference.fingerprint])


def sensitivity_key(analysis: str, corpus: str, kept_fraction: float, metric: Metric, compute_dtype: str) -> Key:
    """Measured loss increases of single projections."""
    spec = {"kept_fraction": kept_fraction, "metric": metric, "compute_dtype": compute_dtype}
    return _key("sensitivity", spec, [analysis, corpus])
