"""Predicted against measured increase of the loss over many varied rank maps of one analysis.

Run: python -m tests.benchmarks.prediction [ANALYSIS] [--n-sequences 8] [--dtype bfloat16]
The home is RANKSCOPE_HOME; measurements are stored there, so a second run takes seconds. Without ANALYSIS the demo
is analysed first.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from cache import DirectoryStore
from engine import operations
from engine.allocation import allocators
from engine.curves import group_curves
from engine.pipeline.analysing import analyse
from engine.pipeline.evaluating import EvaluationSession
from engine.pipeline.reading import load_analysis
from engine.progress import ignore_progress
from engine.rank_map import RankMap
from engine.settings import settings
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import BlockRank, Budget, Format, GroupCurves, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.analysis import Analysis

LOW, CAT, SKIP, BOTH = Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT
MODES = ("taylor2", "taylor1", "fisher")


@dataclass(frozen=True)
class Case:
    """One rank map to measure."""

    method: str
    metric: Metric
    allocator: str
    formats: tuple[Format, ...]
    kept: float
    options: tuple[tuple[str, Any], ...] = ()
    importance: int = 0
    n_locks: int = 0


def cases() -> Iterator[Case]:
    """Yield 72 maps whose damage lies mostly between 0.05 and 1.5 nats, interleaved by method."""
    for place in range(6):
        step = place / 5
        yield Case("water-filling", Metric.LOSS, "water-filling", (LOW, CAT, SKIP, BOTH), 0.55 + 0.4 * step)
        yield Case("svd-llm", Metric.INPUT, "uniform", (LOW,), 0.80 + 0.15 * step)
        yield Case("flrc", Metric.INPUT, "flrc", (LOW,), 0.68 + 0.27 * step)
        yield Case("skipcat", Metric.INPUT, "uniform", (BOTH,), 0.66 + 0.29 * step)
        yield Case("water-filling", Metric.LOSS, "water-filling", (LOW, CAT), 0.60 + 0.35 * step)
        yield Case(
            "flrc",
            Metric.INPUT,
            "flrc",
            (BOTH,),
            0.6 + 0.35 * step,
            (("gamma", (0.2, 0.5, 0.8)[place % 3]),),
            place % 3,
        )
        yield Case("uniform", Metric.LOSS, "uniform", ((LOW,), (SKIP,), (CAT,))[place % 3], 0.7 + 0.25 * step)
        yield Case("uniform", Metric.INPUT, "uniform", ((SKIP,), (CAT,))[place % 2], 0.7 + 0.25 * step)
        yield Case("water-filling", Metric.INPUT, "water-filling", (LOW, CAT, SKIP, BOTH), 0.55 + 0.4 * step)
        yield Case("water-filling", Metric.LOSS, "water-filling", ((SKIP,), (LOW,))[place % 2], 0.6 + 0.35 * step)
        yield Case("locked", Metric.LOSS, "water-filling", (LOW, SKIP), 0.6 + 0.3 * step, n_locks=8 + 8 * place)
        yield Case(
            "locked", Metric.INPUT, "uniform", ((SKIP,), (LOW,))[place % 2], 0.7 + 0.25 * step, n_locks=8 + 8 * place
        )


def random_locks(analysis: Analysis, case: Case, rng: np.random.Generator) -> tuple[BlockRank, ...]:
    """Return ranks between a quarter and three quarters of the useful ones, or dense, for random projections."""
    chosen = rng.choice(len(analysis.inventory.projections), case.n_locks, replace=False)
    locks = []
    for index in sorted(chosen):
        projection = analysis.inventory.projections[index]
        storage = case.formats[-1]
        rank = int(rng.uniform(0.25, 0.6) * min(projection.in_features, projection.out_features))
        dense = rng.uniform() < 0.25
        locks.append(BlockRank((projection.name,), Format.DENSE if dense else storage, None if dense else rank))
    return tuple(locks)


def rank_map_of(analysis: Analysis, curves: Sequence[GroupCurves], case: Case, seed: int) -> RankMap:
    """Return the rank map a case stands for."""
    budget = Budget.of_kept_fraction(case.kept, analysis.inventory.compressible_params)
    allocate = allocators.get(case.allocator)
    locks = random_locks(analysis, case, np.random.default_rng(seed))
    allocation = allocate(curves, budget, formats=frozenset(case.formats), locks=locks, **dict(case.options))
    return RankMap.from_allocation(
        allocation,
        model_name=analysis.about["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        analysis=analysis.id,
        method=case.method,
        metric=case.metric,
        budget=budget,
    )


def with_importance(curves: Sequence[GroupCurves], analysis: Analysis, mode: int) -> list[GroupCurves]:
    """Return the curves with another importance column."""

    def changed(curve: Any) -> Any:
        return replace(curve, importance=sum(float(analysis.importances[n][mode]) for n in curve.members))

    return [GroupCurves(tuple(map(changed, g.separate)), g.shared and changed(g.shared)) for g in curves]


def measured(session: EvaluationSession) -> list[dict[str, Any]]:
    """Return the measurement of every case."""
    analysis = session.analysis
    curves = {metric: group_curves(analysis, metric) for metric in (Metric.INPUT, Metric.LOSS)}
    runs = []
    for seed, case in enumerate(cases()):
        chosen = with_importance(curves[case.metric], analysis, case.importance)
        rank_map = rank_map_of(analysis, chosen, case, seed)
        found = session.measure(rank_map, ignore_progress)
        runs.append(found)
        increase = found["nll"] - found["dense_nll"]
        formats = "/".join(case.formats)
        print(
            f"{case.method:14}{case.metric:6} {formats:28} {case.kept:.3f} {found['predicted_nats']:.4f} {increase:.4f} "
            f"{found['seconds']}",
            flush=True,
        )
    return runs


def main() -> None:
    """Print one line per map, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis", nargs="?", default="")
    parser.add_argument("--n-sequences", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16")
    chosen = parser.parse_args()
    here = settings()
    store = DirectoryStore(here.artifacts)
    known = chosen.analysis
    if not known:
        known = analyse(operations.analysis_spec({}), store, here.downloads, ignore_progress).fingerprint
    analysis = load_analysis(store, known)
    corpus = CorpusSpec.parse("demo", part="evaluation", n_sequences=chosen.n_sequences, length=512)
    spec = EvaluationSpec(corpus, chosen.dtype)
    session = EvaluationSession(store, here.downloads, analysis.id, spec, ignore_progress)
    measured(session)


if __name__ == "__main__":
    main()
