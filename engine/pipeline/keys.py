"""Keys of every artifact, and what an artifact's upstream is."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING

from cache import Key, fingerprint
from engine.pipeline.runs import RUN_LENGTH
from engine.precision import ROUNDINGS
from engine.rank_map.identity import SCHEMA_VERSION, decided
from engine.specs import AnalysisSpec, EvaluationSpec, ModelSpec
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.rank_map.document import RankMap
    from engine.search.specs import ObjectiveSpec
    from engine.specs import PostTrainingSpec, RefinementSpec


_NEURONS = {"neurons": True}
"""What tells statistics and factors with the neurons of MLPs from older ones without."""
_WITHOUT_START = {"start_gradients": False}
"""What tells statistics of sequences that begin with a token of the tokenizer's from those that had its gradients."""
_HALF_FACTORS = {"factors": "bfloat16"}
"""What tells factors of a model in 16 bits, and what was computed with them, from older ones in float32."""

_STACKS = {"expert_stacks": True}
"""What tells analyses with stacks of experts from older ones that left those dense."""


def _key(stage: str, spec: object, upstream: Sequence[str]) -> Key:
    return Key(stage, fingerprint(stage, spec, upstream, schema_version=SCHEMA_VERSION))


def statistics_key(
    spec: AnalysisSpec,
    layer: int,
    model: str,
    corpus: str,
    *,
    begun: bool,
    first: int = 0,
    half: bool = False,
    experts: bool = False,
) -> Key:
    """Moments of one layer; those around a compressed model also depend on how its factors were damped.

    Args:
        spec: of the analysis.
        layer: index of the decoder layer.
        model: fingerprint of the model.
        corpus: fingerprint of the text up to the last sequence.
        begun: the tokenizer begins every sequence with a token of its own.
        first: the sequence they begin with.
        half: the factors of the model they are taken around are stored in 16 bits.
        experts: the model's configuration names experts.
    """
    around = spec.around_kept_fraction
    shrinkage = spec.gradient_shrinkage
    where: dict[str, object] = {
        "around_kept_fraction": around,
        "damping": spec.damping,
        "gradient_shrinkage": shrinkage,
        **(_HALF_FACTORS if half else {}),
    }
    decided = {"calibration": spec.calibration, "layer": layer, **({} if around is None else where), **_NEURONS}
    decided |= (_WITHOUT_START if begun else {}) | (_STACKS if experts else {})
    decided |= {"first": first} if first else {}
    return _key("statistics", decided, [model, corpus])


def merged_key(runs: Sequence[Key]) -> Key:
    """Moments over several runs of sequences, which are added when they are read; of one run its own."""
    return runs[0] if len(runs) == 1 else _key("statistics", "merged", [key.fingerprint for key in runs])


def factors_key(statistics: Key, metric: Metric, spec: AnalysisSpec, *, half: bool) -> Key:
    """Factors, stored in 16 bits or in float32, and spectra of one layer in one metric."""
    stored = _HALF_FACTORS if half else {}
    return _key("factors", _metric_spec(metric, spec) | stored, [statistics.fingerprint])


def spectrum_key(statistics: Key, metric: Metric, spec: AnalysisSpec) -> Key:
    """Spectra alone of one layer in one metric."""
    return _key("spectrum", _metric_spec(metric, spec), [statistics.fingerprint])


def _metric_spec(metric: Metric, spec: AnalysisSpec) -> dict[str, object]:
    """Return what decides a metric's spectra; groups that are not set leave the keys as they were without them."""
    decided: dict[str, object] = {
        "metric": metric,
        "damping": spec.damping,
        "gradient_shrinkage": spec.gradient_shrinkage,
    }
    if metric is Metric.FEATURE and spec.feature_groups is not None:
        decided["groups"] = spec.feature_groups
    return decided


def analysis_key(spec: AnalysisSpec, model: str, corpus: str, *, begun: bool, half: bool, experts: bool = False) -> Key:
    """The assembled analysis; model and corpus enter by fingerprint, not by where they lie.

    Args:
        spec: of the analysis.
        model: fingerprint of the model.
        corpus: fingerprint of the text.
        begun: the tokenizer begins every sequence with a token of its own.
        half: its factors are stored in 16 bits.
        experts: the model's configuration names experts.
    """
    anonymous = replace(spec, model=ModelSpec(spec.model.source), corpus=replace(spec.corpus, location=""))
    decided = {f.name: getattr(anonymous, f.name) for f in fields(anonymous)}
    if spec.feature_groups is None:
        del decided["feature_groups"]
    decided |= _NEURONS
    decided |= (_WITHOUT_START if begun else {}) | (_STACKS if experts else {})
    decided |= _HALF_FACTORS if half else {}
    if spec.corpus.n_sequences > RUN_LENGTH:
        decided["run_length"] = RUN_LENGTH
    return _key("analysis", decided, [model, corpus])


def reference_key(spec: EvaluationSpec, model: str, corpus: str) -> Key:
    """The dense model's predictions on an evaluation text."""
    anonymous = replace(spec, corpus=replace(spec.corpus, location=""))
    return _key("reference", anonymous, [model, corpus])


def evaluation_key(
    rank_map: RankMap, analysis: str, reference: Key, refinement: Key | None = None, weight_bits: int = 16
) -> Key:
    """A measured rank map; its method's name does not matter, its blocks, metric, refinement and rounding do."""
    refined = [] if refinement is None else [refinement.fingerprint]
    rounding = ROUNDINGS.get(weight_bits)
    subject = decided(rank_map) | ({} if rounding is None else {"rounding": rounding})
    return _key("evaluation", subject, [analysis, reference.fingerprint, *refined])


def refinement_key(
    rank_map: RankMap, analysis: str, spec: RefinementSpec, corpus: str, teacher: str | None = None
) -> Key:
    """A rank map's factors refined on a text; earlier releases always corrected, and did not say so.

    Training may learn from another model than the analysed one, whose fingerprint ``teacher`` is.
    """
    chosen = asdict(spec)
    if spec.correct:
        del chosen["correct"]
    taught = [teacher] if teacher and spec.training else []
    return _key("refinement", {**decided(rank_map), "spec": chosen}, [analysis, corpus, *taught])


def unread_text_key(refinement: Key, n_sequences: int) -> Key:
    """What a refinement comes to on text that neither it nor the analysis has read."""
    return _key("unread-text", {"n_sequences": n_sequences}, [refinement.fingerprint])


def training_check_key(refinement: Key, check: int) -> Key:
    """Where the training of a refinement stood at one of its checks."""
    return _key("training-check", {"check": check}, [refinement.fingerprint])


def refined_layer_key(refinement: Key, layer: int) -> Key:
    """The refined factors of one layer."""
    return _key("refined-layer", {"layer": layer}, [refinement.fingerprint])


def subset_key(spec: ObjectiveSpec, analysis: str, corpus: str, skipped: int) -> Key:
    """The sequences a search measures on, and the dense model's predictions there."""
    anonymous = replace(spec, pool=replace(spec.pool, location=""), divergence_weight=0.0)
    return _key("subset", {"objective": anonymous, "skipped": skipped}, [analysis, corpus])


def trial_key(rank_map: RankMap, subset: Key, divergence_weight: float) -> Key:
    """A rank map measured by a search; the subset's key covers analysis, text and arithmetic."""
    return _key("trial", {**decided(rank_map), "divergence_weight": divergence_weight}, [subset.fingerprint])


def post_training_key(evaluation: str, spec: PostTrainingSpec) -> Key:
    """Trained diagonals of a rank map that was measured on a text before; the fingerprint of that measurement."""
    return _key("post-training", spec, [evaluation])


def comparison_key(analysis: str, evaluations: Sequence[str], kept_fractions: Sequence[float]) -> Key:
    """A table of measured rank maps."""
    return _key("comparison", {"kept_fractions": list(kept_fractions)}, [analysis, *evaluations])


def sensitivity_key(analysis: str, corpus: str, kept_fraction: float, metric: Metric, compute_dtype: str) -> Key:
    """Measured loss increases of single projections."""
    spec = {"kept_fraction": kept_fraction, "metric": metric, "compute_dtype": compute_dtype}
    return _key("sensitivity", spec, [analysis, corpus])
