"""Measure rank maps on held-out text, and single projections by truncating them alone."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter
from safetensors.torch import load_file, save_file

from cache import Key, write_json
from engine.errors import ModelError
from engine.evaluation.perplexity import DenseReference, measure, take_reference
from engine.evaluation.sensitivity import measure_sensitivity
from engine.machine import peak_memory_bytes, versions
from engine.methods.cost import cost_of
from engine.model.module import device_of
from engine.model.opening import open_model, type_for_passes
from engine.model.sources import ModelFolder, resolve_model, resolve_texts
from engine.pipeline import keys
from engine.pipeline.factors import factors_reader
from engine.pipeline.models import Models
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.documents import read_perplexity
from engine.pipeline.sequences import read_sequences, sequences_fingerprint
from engine.progress import part_of
from engine.rank_map.document import check_rank_map
from engine.rank_map.identity import EVALUATION
from engine.specs import AnalysisSpec

if TYPE_CHECKING:
    from torch import nn

    from engine.analysis.value import Analysis
    from engine.evaluation.perplexity import Measurement
    from engine.model.opening import OpenModel
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult
    from engine.settings import Home
    from engine.specs import CorpusSpec, EvaluationSpec


class EvaluationSession:
    """One opened dense model and one text, on which any number of rank maps is measured.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors are used; the start of its id is enough.
        spec: text, arithmetic and batch size.
        report: told while the model is opened and the dense model is measured.
        device: where it runs.
        models: opened before, in the type of ``spec``; ``None`` opens the model here.

    Raises:
        RankScopeError: the analysis, its model or the text is not there any more, or not the same.
    """

    def __init__(
        self,
        home: Home,
        analysis_id: str,
        spec: EvaluationSpec,
        report: Report,
        *,
        device: str = "auto",
        models: Models | None = None,
    ) -> None:
        self.store = store = home.store
        self.spec = spec
        self.analysis = load_analysis(store, analysis_id)
        if models is None:
            folder = reopen_folder(home, self.analysis, report)
            models = Models(home, self.analysis, folder, report, dtype=spec.dtype, device=device)
        self._models = models
        texts = resolve_texts(home, spec.corpus, report)
        self._text_fingerprint = sequences_fingerprint(models.folder, spec.corpus)
        self._reference_key = keys.reference_key(spec, self._models.folder.fingerprint, self._text_fingerprint)
        dense = models.dense
        report("text", 0.2, f"Reading {spec.corpus.label}")
        self._tokens = read_sequences(dense, spec.corpus, texts)
        self._reference = self._dense_reference(part_of(report, 0.2, 1.0))

    @property
    def model(self) -> OpenModel:
        """The dense model."""
        return self._models.dense

    def compressed(self, rank_map: RankMap, refinement: Key | None = None) -> nn.Module:
        """Return the model under a checked rank map, with refined factors if their key is given."""
        return self._models.compress(rank_map, refinement)

    def run(self, module: nn.Module, report: Report) -> Measurement:
        """Run a compressed model over the text, beside the dense one.

        Raises:
            NumericalError: its loss is not finite.
        """
        return measure(module, self._tokens, self._reference, self.spec, report)

    def measure(self, rank_map: RankMap, report: Report, refinement: Key | None = None) -> PerplexityResult:
        """Measure one rank map, or one with refined factors, or return the stored measurement.

        Raises:
            InvalidRankMapError: the map does not fit the model.
            NumericalError: the compressed model's loss is not finite.
        """
        check_rank_map(rank_map, self.analysis.inventory, self.analysis.about["model_fingerprint"])
        cost = cost_of(self.analysis, rank_map)
        key = keys.evaluation_key(rank_map, self.analysis.id, self._reference_key, refinement)
        if key not in self.store:
            begun = time.monotonic()
            module = self._models.module(rank_map, refinement)
            applied_s = time.monotonic() - begun
            measurement = self.run(module, report)
            document = {
                "method": rank_map.method,
                "metric": rank_map.metric,
                "refinement": None if refinement is None else self._refinement(refinement),
                "perplexity": measurement.perplexity,
                "dense_perplexity": measurement.dense_perplexity,
                "nll": measurement.nll,
                "dense_nll": measurement.dense_nll,
                "divergence": measurement.divergence,
                "agreement": measurement.agreement,
                "kept_fraction": cost.kept_fraction,
                "params": cost.params,
                "model_params": cost.model_params,
                "index_bytes": cost.index_bytes,
                "predicted_nats": cost.nats,
                "corpus": self.spec.corpus.label,
                "text_fingerprint": self._text_fingerprint,
                "n_sequences": len(self._tokens),
                "n_tokens": measurement.n_tokens,
                "analysis": self.analysis.id,
                "model": self.analysis.about["model"],
                "dtype": self.spec.dtype,
                "device": str(device_of(module)),
                "versions": versions(),
            }
            about = {
                "analysis": self.analysis.id,
                "seconds": {
                    "apply": round(applied_s, 3),
                    "evaluate": round(time.monotonic() - begun - applied_s, 2),
                },
                "peak_memory_bytes": peak_memory_bytes(),
            }
            with self.store.writing(key, about) as into:
                write_json(into / EVALUATION, document)
                (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
        return read_perplexity(self.analysis, self.store.read(key))

    def _refinement(self, key: Key) -> dict[str, Any]:
        return {"id": key.fingerprint, "kind": self.store.read(key).json("refinement.json")["kind"]}

    def _dense_reference(self, report: Report) -> DenseReference:
        key = self._reference_key
        if key not in self.store:
            reference = take_reference(self._models.dense.module, self._tokens, self.spec, report)
            with self.store.writing(key, {"corpus": self.spec.corpus.label}) as into:
                tensors = {name: getattr(reference, name) for name in ("nll", "top_log_probs", "top_tokens")}
                save_file(tensors, into / "reference.safetensors")
        return DenseReference(**load_file(self.store.read(key).path("reference.safetensors")))


def sense(
    home: Home,
    analysis_id: str,
    corpus: CorpusSpec,
    kept_fraction: float,
    report: Report,
    *,
    compute_dtype: str = "float32",
    device: str = "auto",
) -> Key:
    """Measure the loss increase of every projection cut alone, and store it.

    Raises:
        RankScopeError: the analysis, its model or the text is not there any more, or not the same.
    """
    store = home.store
    analysis = load_analysis(store, analysis_id)
    metric = analysis.default_metric
    folder = reopen_folder(home, analysis, part_of(report, 0.0, 0.05))
    sequences = sequences_fingerprint(folder, corpus)
    key = keys.sensitivity_key(analysis.id, sequences, kept_fraction, metric, compute_dtype)
    if key in store:
        return key
    texts = resolve_texts(home, corpus, part_of(report, 0.0, 0.05))
    dtype = type_for_passes(compute_dtype)
    model = open_model(folder.path, dtype=dtype, device=device, trust_remote_code=folder.spec.trust_remote_code)
    tokens = read_sequences(model, corpus, texts)
    increases = measure_sensitivity(
        model.module,
        model.inventory,
        tokens,
        factors_reader(analysis, store, metric),
        kept_fraction,
        part_of(report, 0.1, 1.0),
        compute_dtype=compute_dtype,
    )
    with store.writing(key, {"analysis": analysis.id, "corpus": corpus.label}) as into:
        document = {
            "kept_fraction": kept_fraction,
            "metric": metric,
            "corpus": corpus.label,
            "n_tokens": tokens.numel(),
            "nll_increase": increases,
        }
        write_json(into / "sensitivity.json", document)
    return key


def reopen_folder(home: Home, analysis: Analysis, report: Report) -> ModelFolder:
    """Return the folder of the model that was analysed.

    Raises:
        ModelError: it is gone or has changed since.
    """
    spec = analysis_spec(analysis).model
    folder = resolve_model(home, spec, report)
    if folder.fingerprint != analysis.about["model_fingerprint"]:
        raise ModelError(
            f"The model {spec.label} has changed since it was analysed; analyse it again, or restore its files."
        )
    return folder


def analysis_spec(analysis: Analysis) -> AnalysisSpec:
    """Return the spec an analysis was made from; the first analyses did not say that they shrank nothing."""
    spec = {"gradient_shrinkage": 0.0, **analysis.about["spec"]}
    return TypeAdapter(AnalysisSpec).validate_python(spec)
