"""From an analysis to measured rank maps: a search whose every trial is stored as soon as it is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from safetensors.torch import load_file, save_file

from cache import Key, fingerprint, write_json
from engine.bayesian.goals import Goal, draw_points, starting_points
from engine.bayesian.objective import Objective, choose_subset, evaluation_spec
from engine.bayesian.slices import SlicingReader
from engine.bayesian.space import SearchSpace, SpaceSpec
from engine.bayesian.study import Evaluated, best_of, evaluated_trials, open_storage, open_study, pareto_set, run_trials
from engine.corpora import load_corpus
from engine.errors import CorpusError
from engine.evaluation import DenseReference, take_reference
from engine.model import open_model
from engine.pipeline import keys
from engine.pipeline.analysing import analyse
from engine.pipeline.evaluating import analysis_spec, reopen_folder
from engine.pipeline.factors import factors_reader
from engine.pipeline.reading import allocate_rank_map, cost_of, curves_by_metric, load_analysis
from engine.progress import ignore_progress, part_of
from engine.rank_map import RankMap
from engine.sources import corpus_fingerprint, resolve_texts
from engine.types import Budget, Format, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

    from cache import Store
    from engine.analysis import Analysis
    from engine.bayesian.specs import ObjectiveSpec
    from engine.model import OpenModel
    from engine.progress import Report

METHOD = "bolaco"
_STARTS = 10
_SUBSET_RANGE = Goal(0.5, 0.95)
"""Sizes of the random maps that show which sequences are sensitive; the same for every search and layout."""


@dataclass(frozen=True, slots=True)
class SearchSpec:
    """What a search does.

    Attributes:
        objective: what points are measured by.
        goal: which points count.
        space: the variables.
        n_trials: measured trials in all.
        seed: of starting points and proposals.
        storage: database URL or journal file; ``None`` takes a journal file in the studies folder.
    """

    objective: ObjectiveSpec
    goal: Goal
    space: SpaceSpec
    n_trials: int = 50
    seed: int = 0
    storage: str | None = None


class SearchSession:
    """One opened model, its sliced factors and its subset, on which points are measured.

    Args:
        store: holds the analysis and receives trials.
        downloads: where fetched files pass through.
        analysis_id: an analysis; the feature metric is added to it if it is missing.
        spec: of the objective.
        space: of the variables.
        report: told how far the preparation is.
        device: where it runs.

    Raises:
        RankScopeError: the analysis, its model or the text is not there any more, or not the same.
    """

    def __init__(
        self,
        store: Store,
        downloads: Path,
        analysis_id: str,
        spec: ObjectiveSpec,
        space: SpaceSpec,
        report: Report,
        *,
        device: str = "auto",
    ) -> None:
        self.store = store
        self.spec = spec
        self.analysis = with_feature(store, downloads, analysis_id, part_of(report, 0.0, 0.4), device=device)
        self.space = SearchSpace.of(self.analysis.inventory, space)
        folder = reopen_folder(self.analysis, store, downloads, report)
        report("model", 0.4, f"Opening {folder.spec.label}")
        self.model = open_model(
            folder.path, dtype=spec.dtype, device=device, trust_remote_code=folder.spec.trust_remote_code
        )
        reader = factors_reader(self.analysis, store, Metric.FEATURE)
        self.factors_of = SlicingReader(self.model.module, reader)
        self.tokens, reference, self.subset_key = self._subset(downloads, part_of(report, 0.5, 1.0))
        self._objective = Objective(self.model.module, self.tokens, reference, self.factors_of, spec)

    def rank_map(self, point: Mapping[str, float], budget_params: int | None) -> RankMap:
        """Return the map of a point."""
        about = self.analysis.about
        return RankMap(
            about["model"],
            about["model_fingerprint"],
            self.analysis.id,
            METHOD,
            Metric.FEATURE,
            budget_params,
            self.space.blocks(point),
        )

    def measure(self, rank_map: RankMap, report: Report) -> dict[str, Any]:
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
        found: dict[str, Any] = self.store.read(key).json("trial.json")
        return {**found, "id": key.fingerprint}

    def _subset(self, downloads: Path, report: Report) -> tuple[torch.Tensor, DenseReference, Key]:
        """Return the subset's tokens, the dense model's predictions on them, and their key."""
        pool, skipped = _pool(self.analysis, self.spec, self.model, self.store, downloads, report)
        corpus = corpus_fingerprint(self.spec.pool)
        key = keys.subset_key(self.spec, self.analysis.id, corpus, skipped)
        if key not in self.store:
            every_rank = SearchSpace.of(self.analysis.inventory, SpaceSpec(rank_step=1))
            points = draw_points(every_rank, _SUBSET_RANGE, self.spec.n_allocations, self.spec.seed)
            allocations = [every_rank.blocks(point) for point in points]
            chosen = choose_subset(self.model.module, pool, self.factors_of, allocations, self.spec, report)
            dense = take_reference(self.model.module, pool[list(chosen)], evaluation_spec(self.spec), ignore_progress)
            with self.store.writing(key, {"analysis": self.analysis.id, "corpus": self.spec.pool.label}) as into:
                save_file(
                    {name: getattr(dense, name) for name in ("nll", "top_log_probs", "top_tokens")},
                    into / "reference.safetensors",
                )
                write_json(into / "subset.json", {"sequences": list(chosen), "skipped": skipped})
        artifact = self.store.read(key)
        indices = artifact.json("subset.json")["sequences"]
        return pool[indices], DenseReference(**load_file(artifact.path("reference.safetensors"))), key


def search(
    store: Store,
    downloads: Path,
    studies: Path,
    analysis_id: str,
    spec: SearchSpec,
    report: Report,
    *,
    device: str = "auto",
) -> dict[str, Any]:
    """Search, and return the documented summary; what was measured before counts and is not measured again.

    Raises:
        RankScopeError: the analysis, its model or the text does not allow it, or hardly any point is feasible.
    """
    session = SearchSession(
        store, downloads, analysis_id, spec.objective, spec.space, part_of(report, 0.0, 0.2), device=device
    )
    goal, space = spec.goal, session.space
    starts = starting_points(space, goal, _guides(session, goal), min(_STARTS, max(spec.n_trials // 2, 2)), spec.seed)
    name = _study_name(session, spec)
    storage = spec.storage or str(studies / f"{name}.journal")
    study = open_study(open_storage(storage), name, space, goal, starts, spec.seed)
    budget = int(goal.high * session.analysis.inventory.compressible_params)
    trials = part_of(report, 0.2, 1.0)
    begun = time.monotonic()
    spent = {"apply": 0.0, "evaluate": 0.0}

    def evaluate(point: Mapping[str, float], number: int) -> float:
        done = evaluated_trials(study)
        best = best_of(done, goal.high)
        so_far = "" if best is None else f", least objective so far {best.objective:.4g}"
        message = f"Trial {len(done) + 1} of {spec.n_trials} (proposal {number + 1}){so_far}"
        trials("search", min(len(done) / spec.n_trials, 1.0), message)
        found = session.measure(session.rank_map(point, budget), ignore_progress)
        for what in spent:
            spent[what] += found["seconds"][what]
        return float(found["objective"])

    run_trials(study, space, goal, evaluate, spec.n_trials)
    measured = evaluated_trials(study)
    report("search", 1.0, f"{len(measured)} trials measured")
    best = best_of(measured, goal.high)
    return {
        "analysis": session.analysis.id,
        "study": name,
        "subset": session.subset_key.fingerprint,
        "storage": storage.split("@")[-1],
        "space": {v.name: len(v.projections) for v in space.variables},
        "trials": len(measured),
        "seconds": {**{k: round(v, 2) for k, v in spent.items()}, "total": round(time.monotonic() - begun, 2)},
        "best": None if best is None else _describe(session, best, budget),
        "pareto": [_describe(session, t, budget) for t in pareto_set(measured)] if goal.pareto else None,
    }


def with_feature(store: Store, downloads: Path, analysis_id: str, report: Report, *, device: str = "auto") -> Analysis:
    """Return the analysis if it has feature factors, else the one with the feature metric added.

    The statistics are stored, so that adding a metric reads no text again.

    Raises:
        RankScopeError: the model or the text of the analysis is gone or has changed.
    """
    found = load_analysis(store, analysis_id)
    if Metric.FEATURE in found.nats:
        return found
    spec = analysis_spec(found)
    reopen_folder(found, store, downloads, report)
    metrics = tuple(m for m in Metric if m in {*spec.metrics, Metric.FEATURE})
    key = analyse(replace(spec, metrics=metrics), store, downloads, report, device=device)
    return load_analysis(store, key.fingerprint)


def _pool(
    analysis: Analysis, spec: ObjectiveSpec, model: OpenModel, store: Store, downloads: Path, report: Report
) -> tuple[torch.Tensor, int]:
    """Return the pool's tokens and how many sequences before them were left out.

    Of the very text the analysis was calibrated on, the sequences after those are taken where it is long enough.
    """
    texts = resolve_texts(spec.pool, store, downloads, report)
    calibration = analysis_spec(analysis).corpus
    if replace(spec.pool, n_sequences=calibration.n_sequences) == calibration:
        skipped = calibration.n_sequences
        longer = replace(spec.pool, n_sequences=skipped + spec.pool.n_sequences)
        try:
            return load_corpus(longer, model.tokenizer, texts).tokens[skipped:], skipped
        except CorpusError:
            report("text", 0.0, "The text has no more than what was analysed; the search reads that again")
    return load_corpus(spec.pool, model.tokenizer, texts).tokens, 0


def _guides(session: SearchSession, goal: Goal) -> dict[float, list[dict[str, float]]]:
    """Return kept fractions at which a search begins, each with water-filling's point where that is possible."""
    analysis, space = session.analysis, session.space
    sizes = [goal.low + (goal.high - goal.low) * k / 4 for k in (4, 3, 2, 1)] if goal.pareto else [goal.high]
    curves = curves_by_metric(analysis)
    guides: dict[float, list[dict[str, float]]] = {}
    for size in sizes:
        guides[size] = []
        if Metric.LOSS in curves:
            budget = Budget.of_kept_fraction(size, analysis.inventory.compressible_params)
            only = frozenset({Format.LOW_RANK})
            filled = allocate_rank_map(analysis, curves, "water-filling", budget, (), only)
            guides[size].append(space.projected(filled.blocks, size))
    return guides


def _study_name(session: SearchSession, spec: SearchSpec) -> str:
    """Name what may share trials: equal measure, equal variables, equal goal."""
    decided = {
        "divergence_weight": spec.objective.divergence_weight,
        "space": spec.space,
        "goal": spec.goal,
    }
    return f"{METHOD}-{fingerprint('study', decided, [session.subset_key.fingerprint], schema_version=1)[:16]}"


def _describe(session: SearchSession, trial: Evaluated, budget: int) -> dict[str, Any]:
    found = session.measure(session.rank_map(trial.point, budget), ignore_progress)
    return {
        "trial": trial.number,
        "id": found["id"],
        "objective": trial.objective,
        "perplexity": found["perplexity"],
        "dense_perplexity": found["dense_perplexity"],
        "divergence": found["divergence"],
        "kept_fraction": trial.kept_fraction,
        "params": found["params"],
        "point": dict(trial.point),
    }
