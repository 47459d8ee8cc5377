"""Measure rank maps on held-out text."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from cache import Key, write_json
from engine.evaluation.perplexity import DenseReference, measure, take_reference
from engine.evaluation.token_pieces import token_pieces
from engine.machine import peak_memory_bytes
from engine.methods.cost import cost_of
from engine.model.module import device_of
from engine.pipeline import keys
from engine.pipeline.layerwise import dense_by_layer
from engine.pipeline.opened import OpenedAnalysis, open_analysis
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.documents import read_document, read_perplexity
from engine.pipeline.reading.passages import block_losses_key, losses_key, write_losses
from engine.pipeline.sequences import sequences_fingerprint
from engine.progress import part_of
from engine.rank_map.document import check_rank_map
from engine.rank_map.identity import EVALUATION, map_id
from engine.results.outcomes import MeasuredBlock
from engine.results.words import method_title, percent

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from engine.evaluation.perplexity import Measurement
    from engine.evaluation.streamed import LayerByLayer
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult
    from engine.settings import Home
    from engine.specs import EvaluationSpec


class EvaluationSession:
    """One opened dense model and one text, on which any number of rank maps is measured.

    Args:
        home: where everything is stored.
        analysis_id: the analysis whose factors are used; the start of its id is enough.
        spec: text, arithmetic and batch size.
        report: told while the model is opened and the dense model is measured.
        device: where it runs.
        opened: the analysis, where it is opened already, in the type of ``spec``.

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
        opened: OpenedAnalysis | None = None,
    ) -> None:
        self.spec = spec
        if opened is None:
            opened = open_analysis(
                home, load_analysis(home.store, analysis_id), report, dtype=spec.dtype, device=device
            )
        self.opened = opened
        self.store = opened.store
        self.analysis = opened.analysis
        self._text_fingerprint = sequences_fingerprint(opened.folder, spec.corpus)
        self._reference_key = keys.reference_key(spec, opened.folder.fingerprint, self._text_fingerprint)
        self._tokens = opened.sequences(spec.corpus, part_of(report, 0.0, 0.05))
        self._reference = self._dense_reference(part_of(report, 0.05, 1.0))

    def run(self, module: nn.Module | LayerByLayer, report: Report) -> Measurement:
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
        weight_bits = self.opened.weight_bits
        key = keys.evaluation_key(rank_map, self.analysis.id, self._reference_key, refinement, weight_bits)
        if key not in self.store:
            begun = time.monotonic()
            report(
                "compression", None, f"Compressing: {method_title(rank_map.method)}, {percent(cost.kept_fraction)} kept"
            )
            module = self.opened.runnable(rank_map, refinement)
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
                "device": str(device_of(self.opened.dense.module)),
                "versions": self.opened.versions(),
                "weight_bits": weight_bits,
            }
            about = {
                "analysis": self.analysis.id,
                "seconds": {
                    "apply": round(applied_s, 3),
                    "evaluate": round(time.monotonic() - begun - applied_s, 2),
                },
                "peak_memory_bytes": peak_memory_bytes(),
            }
            with self.store.writing(losses_key(key), {"analysis": self.analysis.id}) as into:
                self._write_losses(into, measurement)
            with self.store.writing(key, about) as into:
                write_json(into / EVALUATION, document)
                (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
        return read_perplexity(self.analysis, self.store.read(key))

    def measure_block(self, alone: RankMap, report: Report) -> MeasuredBlock:
        """Measure what every token pays for one block, and keep it apart from measured maps.

        Args:
            alone: a map of that block only.
            report: told of the run.

        Raises:
            InvalidRankMapError: the map does not fit the model.
            NumericalError: the compressed model's loss is not finite.
        """
        check_rank_map(alone, self.analysis.inventory, self.analysis.about["model_fingerprint"])
        key = block_losses_key(keys.evaluation_key(alone, self.analysis.id, self._reference_key))
        if key not in self.store:
            measurement = self.run(self.opened.runnable(alone), report)
            (block,) = alone.blocks
            increase = measurement.nll - measurement.dense_nll
            measured = MeasuredBlock(block.name, self.spec.corpus.label, measurement.n_tokens, increase)
            with self.store.writing(key, {"analysis": self.analysis.id, "cut": map_id(alone)}) as into:
                write_json(into / "block-losses.json", measured)
                self._write_losses(into, measurement)
        return read_document(MeasuredBlock, self.store.read(key))

    def _write_losses(self, into: Path, measurement: Measurement) -> None:
        """Write what every token costs the dense and the compressed model."""
        tokenizer = self.opened.dense.tokenizer
        pieces = [token_pieces(tokenizer, sequence) for sequence in self._tokens.tolist()]
        losses = (nll.float().view(len(pieces), -1).numpy() for nll in (self._reference.nll, measurement.token_nll))
        write_losses(into, pieces, *losses)

    def _refinement(self, key: Key) -> dict[str, str]:
        return {"id": key.fingerprint, "kind": self.store.read(key).json("refinement.json")["kind"]}

    def _dense_reference(self, report: Report) -> DenseReference:
        key = self._reference_key
        if key not in self.store:
            dense = self.opened.dense
            module = dense.module if dense.weights is None else dense_by_layer(dense)
            reference = take_reference(module, self._tokens, self.spec, report)
            with self.store.writing(key, {"corpus": self.spec.corpus.label}) as into:
                tensors = {name: getattr(reference, name) for name in ("nll", "top_log_probs", "top_tokens")}
                save_file(tensors, into / "reference.safetensors")
        return DenseReference(**load_file(self.store.read(key).path("reference.safetensors")))
