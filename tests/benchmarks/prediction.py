"""Predicted against measured increase of the loss over many varied rank maps of one analysis.

Run: python -m tests.benchmarks.prediction [ANALYSIS] [--n-sequences 8] [--dtype bfloat16]
The home is RANKSCOPE_HOME; measurements are stored there, so a second run takes seconds. Without ANALYSIS the demo
is analysed first.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.allocation import allocators
from engine.analysis.curves import group_curves
from engine.methods.cost import cost_of
from engine.methods.presets import PRESETS
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.prediction.power_law import MeasuredRun, Predictor, predict_left_out
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap
from engine.settings import home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import BlockRank, Budget, Format, GroupCurves, Importance, Metric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.analysis.value import Analysis

LOW, CAT, SKIP, BOTH, WIDTH = Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT, Format.WIDTH
MODES = tuple(Importance)
BAND = (0.05, 1.5)
"""Measured nats per token between which errors are counted."""


@dataclass(frozen=True)
class Case:
    """One rank map to measure."""

    method: str
    metric: Metric
    allocator: str
    formats: tuple[Format, ...]
    kept: float
    options: tuple[tuple[str, Any], ...] = ()
    importance: Importance = Importance.TAYLOR2
    n_locks: int = 0


def cases() -> Iterator[Case]:
    """Yield 92 maps whose damage lies mostly between 0.05 and 1.5 nats, interleaved by method."""
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
            MODES[place % 3],
        )
        yield Case("uniform", Metric.LOSS, "uniform", ((LOW,), (SKIP,), (CAT,))[place % 3], 0.7 + 0.25 * step)
        yield Case("uniform", Metric.INPUT, "uniform", ((SKIP,), (CAT,))[place % 2], 0.7 + 0.25 * step)
        yield Case("water-filling", Metric.INPUT, "water-filling", (LOW, CAT, SKIP, BOTH), 0.55 + 0.4 * step)
        yield Case("water-filling", Metric.LOSS, "water-filling", ((SKIP,), (LOW,))[place % 2], 0.6 + 0.35 * step)
        yield Case("locked", Metric.LOSS, "water-filling", (LOW, SKIP), 0.6 + 0.3 * step, n_locks=8 + 8 * place)
        yield Case(
            "locked", Metric.INPUT, "uniform", ((SKIP,), (LOW,))[place % 2], 0.7 + 0.25 * step, n_locks=8 + 8 * place
        )
        yield Case("ranks or widths", Metric.LOSS, "water-filling", (LOW, CAT, SKIP, BOTH, WIDTH), 0.5 + 0.45 * step)
        yield Case("widths", Metric.LOSS, "water-filling", (WIDTH,), 0.65 + 0.3 * step)
    for kept in (0.73, 0.84):
        for preset in PRESETS.values():
            if preset.metric in {Metric.INPUT, Metric.LOSS}:
                yield Case(preset.name, preset.metric, preset.allocator, tuple(sorted(preset.formats)), kept)


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
    return RankMap(
        model_name=analysis.about["model"],
        model_fingerprint=analysis.about["model_fingerprint"],
        analysis=analysis.id,
        method=case.method,
        metric=case.metric,
        budget_params=budget.params,
        blocks=allocation.blocks,
    )


def measured(session: EvaluationSession) -> list[tuple[str, MeasuredRun]]:
    """Return the method and the measurement of every case, printing one line each; equal maps count once."""
    analysis = session.analysis
    runs = {}
    for seed, case in enumerate(cases()):
        rank_map = rank_map_of(analysis, group_curves(analysis, case.metric, case.importance), case, seed)
        found = session.measure(rank_map, ignore_progress)
        run = MeasuredRun(case.metric, cost_of(analysis, rank_map).nats, found.increase)
        runs[found.provenance.artifact] = (case.method, run)
        shown = " ".join(f"{number:.4f}" for number in (case.kept, run.nats, run.increase))
        seconds = f"{found.provenance.seconds} s"
        print(f"{case.method:14}{case.metric:6} {'/'.join(case.formats):28} {shown} {seconds}", flush=True)
    return list(runs.values())


def print_tables(runs: Sequence[tuple[str, MeasuredRun]]) -> None:
    """Print how well the half discarded energy and the calibrated prediction do."""
    learned = [run for _, run in runs]
    left_out = predict_left_out(learned)
    table = pd.DataFrame(
        {
            "metric": [run.metric.value for run in learned],
            "method": [method for method, _ in runs],
            "measured": [run.increase for run in learned],
            "raw": [run.nats for run in learned],
            "calibrated": [prediction.nll_increase for prediction in left_out],
            "held": [p.low <= run.increase <= p.high for p, run in zip(left_out, learned, strict=True)],
            "width": [p.high / p.low for p in left_out],
        }
    )
    print(
        "\n| maps | count | ½Σσ²: median error | rank correlation | calibrated: median | 90 % of them | rank ", end=""
    )
    print("correlation | in the interval | its width |\n" + "|---" * 9 + "|")
    band = table[table["measured"].between(*BAND)]
    groups = [(f"{metric} metric", rows) for metric, rows in band.groupby("metric")]
    groups += [(f"{method} ({metric})", rows) for (method, metric), rows in band.groupby(["method", "metric"])]
    for title, rows in [*groups, ("**all**", band), ("all, at any damage", table)]:
        print_row(title, rows)
    print("\n| calibrated on | median error | 90 % of errors | in the interval |\n|---|---|---|---|")
    for n_runs in (0, 1, 2, 4, 8, 16, 32):
        print(few_runs_row(learned, n_runs))
    print(f"\n{json.dumps(Predictor.fit(learned).to_json())}")


def print_row(title: str, rows: pd.DataFrame) -> None:
    """Print one row of the first table."""
    cells = [title, str(len(rows))]
    for column in ("raw", "calibrated"):
        errors = (rows[column] - rows["measured"]).abs() / rows["measured"]
        cells.append(f"{errors.median():.1%}")
        if column == "calibrated":
            cells.append(f"{errors.quantile(0.9):.1%}")
        cells.append(f"{rows[column].corr(rows['measured'], method='spearman'):.3f}")
    cells += [f"{rows['held'].mean():.0%}", f"± {math.sqrt(rows['width'].median()) - 1:.0%}"]
    print("| " + " | ".join(cells) + " |")


def few_runs_row(learned: Sequence[MeasuredRun], n_runs: int, n_draws: int = 200) -> str:
    """Return how well a few random runs predict the others."""
    rng = np.random.default_rng(0)
    errors, held = [], []
    for _ in range(n_draws if n_runs else 1):
        chosen = set(rng.choice(len(learned), n_runs, replace=False).tolist())
        predictor = Predictor.fit([learned[i] for i in chosen])
        for i, run in enumerate(learned):
            if i not in chosen and BAND[0] <= run.increase <= BAND[1]:
                found = predictor.predict(run.nats, run.metric)
                errors.append(abs(found.nll_increase - run.increase) / run.increase)
                held.append(found.low <= run.increase <= found.high)
    return f"| {n_runs} runs | {np.median(errors):.1%} | {np.quantile(errors, 0.9):.1%} | {np.mean(held):.0%} |"


def main() -> None:
    """Measure, or read what was measured, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis", nargs="?", default="")
    parser.add_argument("--n-sequences", type=int, default=8)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--text", default="demo")
    chosen = parser.parse_args()
    here = home()
    known = chosen.analysis
    if not known:
        known = analyse(here, Analyse().spec(), ignore_progress).fingerprint
    corpus = CorpusSpec.parse(chosen.text, part="evaluation", n_sequences=chosen.n_sequences, length=512)
    session = EvaluationSession(here, known, EvaluationSpec(corpus, chosen.dtype), ignore_progress)
    print_tables(measured(session))


if __name__ == "__main__":
    main()
