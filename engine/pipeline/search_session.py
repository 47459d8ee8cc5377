"""One opened model on which a search measures its points, and what it keeps of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from cache import Key, write_json
from engine.errors import CorpusError
from engine.evaluation.perplexity import DenseReference, take_reference
from engine.methods.cost import cost_of
from engine.methods.presets import SEARCHED
from engine.pipeline import keys
from engine.pipeline.analyse import analyse
from engine.pipeline.opened import OpenedAnalysis, open_analysis
from engine.pipeline.reading.analyses import analysis_spec, load_analysis
from engine.pipeline.reading.documents import read_document
from engine.pipeline.sequences import sequences_fingerprint
from engine.progress import ignore_progress, part_of
from engine.rank_map.document import RankMap
from engine.search.goals import Goal, draw_points
from engine.search.objective import Objective, choose_subset, evaluation_spec
from engine.search.outcome import Trial
from engine.search.slices import SlicingReader
from engine.search.space import SearchSpace, SpaceSpec
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from engine.analysis.value import Analysis
    from engine.progress import Report
    from engine.search.specs import ObjectiveSpec
    from engine.settings import Home

_SUBSET_RANGE = Goal(0.5, 0.95)
"""Sizes of the random maps that show which sequences are sensitive; the same for every search and layout."""


class SearchSession:
    """One opened model, its sliced factors and its subset, on which points are measured.

    Args:
        home: where everything is stored.
        analysis_id: an analysis; the feature metric is added to it if it is missing.
        spec: of the objective.
        space: of the variables.
        report: told how far the preparation is.
        device: where it runs.

    Raises:
        ResourceError: the model does not fit into memory.
        RankScopeError: the analysis, its model or the text is not there any more, or not the same.
    """

    def __init__(
        self,
        home: Home,
        analysis_id: str,
        spec: ObjectiveSpec,
        space: SpaceSpec,
        report: Report,
        *,
        device: str = "auto",
    ) -> None:
        self.store = home.store
        self.spec = spec
        found, told = load_analysis(self.store, analysis_id), part_of(report, 0.0, 0.5)
        opened = open_analysis(home, found, told, dtype=spec.dtype, device=device)
        opened.require_whole()
        if SEARCHED.metric not in found.nats:
            opened = opened.of(with_feature(opened, told))
        self.analysis = opened.analysis
        self.space = SearchSpace.of(self.analysis.inventory, space)
        module = opened.dense.module
        self.factors_of = SlicingReader(module, opened.rank_factors(SEARCHED.metric))
        self.tokens, reference, self.subset_key = self._subset(opened, part_of(report, 0.5, 1.0))
        self._objective = Objective(module, self.tokens, reference, self.factors_of, spec)

    def rank_map(self, point: Mapping[str, float], budget_params: int | None) -> RankMap:
        """Return the map of a point."""
        about = self.analysis.about
        return RankMap(
            about["model"],
            about["model_fingerprint"],
            self.analysis.id,
            SEARCHED.name,
            SEARCHED.metric,
            budget_params,
            self.space.blocks(point),
        )

    def measure(self, rank_map: RankMap, report: Report) -> Trial:
        """Measure a map on the subset and store it, or return what is stored.

        Raises:
            NumericalError: the compressed model's loss is not finite.
        """
        key = keys.trial_key(rank_map, self.subset_key, self.spec.divergence_weight)
        if key not in self.store:
            outcome = self._objective(rank_map.blocks, report)
            cost = cost_of(self.analysis, rank_map)
            measurement = outcome.measurement
            document = {
                "objective": outcome.objective,
                "perplexity": measurement.perplexity,
                "dense_perplexity": measurement.dense_perplexity,
                "divergence": measurement.divergence,
                "divergence_weight": self.spec.divergence_weight,
                "kept_fraction": cost.kept_fraction,
                "params": cost.params,
                "predicted_nats": cost.nats,
                "corpus": self.spec.pool.label,
                "subset": self.subset_key.fingerprint,
                "n_sequences": len(self.tokens),
                "n_tokens": measurement.n_tokens,
                "dtype": self.spec.dtype,
                "seconds": {"apply": round(outcome.apply_s, 4), "evaluate": round(outcome.evaluate_s, 4)},
            }
            with self.store.writing(key, {"analysis": self.analysis.id}) as into:
                write_json(into / "trial.json", document)
                (into / "rank-map.json").write_text(rank_map.to_json(), encoding="utf-8")
        return read_document(Trial, self.store.read(key))

    def _subset(self, opened: OpenedAnalysis, report: Report) -> tuple[torch.Tensor, DenseReference, Key]:
        """Return the subset's tokens, the dense model's predictions on them, and their key."""
        pool, skipped = _pool(opened, self.spec, report)
        module = opened.dense.module
        corpus = sequences_fingerprint(opened.folder, self.spec.pool)
        key = keys.subset_key(self.spec, self.analysis.id, corpus, skipped)
        if key not in self.store:
            every_rank = SearchSpace.of(self.analysis.inventory, SpaceSpec(rank_step=1))
            points = draw_points(every_rank, _SUBSET_RANGE, self.spec.n_allocations, self.spec.seed)
            allocations = [every_rank.blocks(point) for point in points]
            chosen = choose_subset(module, pool, self.factors_of, allocations, self.spec, report)
            dense = take_reference(module, pool[list(chosen)], evaluation_spec(self.spec), ignore_progress)
            with self.store.writing(key, {"analysis": self.analysis.id, "corpus": self.spec.pool.label}) as into:
                save_file(
                    {name: getattr(dense, name) for name in ("nll", "top_log_probs", "top_tokens")},
                    into / "reference.safetensors",
                )
                write_json(into / "subset.json", {"sequences": list(chosen), "skipped": skipped})
        artifact = self.store.read(key)
        indices = artifact.json("subset.json")["sequences"]
        return pool[indices], DenseReference(**load_file(artifact.path("reference.safetensors"))), key


def with_feature(opened: OpenedAnalysis, report: Report) -> Analysis:
    """Return an analysis with the feature metric added.

    The statistics are stored, so that adding a metric reads no text again.

    Raises:
        RankScopeError: the text of the analysis is gone or has changed.
    """
    spec = analysis_spec(opened.analysis)
    metrics = tuple(m for m in Metric if m in {*spec.metrics, SEARCHED.metric})
    key = analyse(opened.home, replace(spec, metrics=metrics), report, device=opened.device, folder=opened.folder)
    return load_analysis(opened.store, key.fingerprint)


def _pool(opened: OpenedAnalysis, spec: ObjectiveSpec, report: Report) -> tuple[torch.Tensor, int]:
    """Return the pool's tokens and how many sequences before them were left out.

    Of the very text the analysis was calibrated on, the sequences after those are taken where it is long enough.
    """
    calibration = analysis_spec(opened.analysis).corpus
    if replace(spec.pool, n_sequences=calibration.n_sequences) == calibration:
        skipped = calibration.n_sequences
        longer = replace(spec.pool, n_sequences=skipped + spec.pool.n_sequences)
        try:
            return opened.sequences(longer, report)[skipped:], skipped
        except CorpusError:
            report("text", 0.0, "The text has no more than what was analysed; the search reads that again")
    return opened.sequences(spec.pool, report), 0
