"""Seconds of FLRC's search for ranks against an ASVD-style one, on the demo model and the same tokens.

Run: python -m tests.benchmarks.search_time [ANALYSIS] [--n-sequences 2] [--n-measured 24]
FLRC: one forward and backward pass over the text, then the allocation. ASVD-style: every projection cut alone to six
kept fractions, each a forward pass over the same text, then a search for the threshold that meets the budget. Of the
evaluations only --n-measured random ones are run, through the same functions as every measurement; the rest is
extrapolated. Both grow with the text alike, so their ratio does not depend on its amount. Seconds are those of one
processor (run it with OMP_NUM_THREADS=1), so that other work on the machine does not count.
The home is RANKSCOPE_HOME; without ANALYSIS the demo is analysed first.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from typing import TYPE_CHECKING, Any

import torch

from cache import DirectoryStore
from engine.analysis.curves import predicted_increase
from engine.calibration.passes import collect_statistics
from engine.compression.apply import compress
from engine.evaluation.perplexity import measure, take_reference
from engine.formats import rank_params, uniform_rank
from engine.methods.allocate import allocate_rank_map
from engine.model.opening import open_model
from engine.model.sources import resolve_texts
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.factors import factors_reader
from engine.pipeline.opened import reopen_folder
from engine.pipeline.reading.analyses import analysis_spec, curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.specs import CalibrationSpec, EvaluationSpec
from engine.text.corpora import load_corpus
from engine.types import BlockRank, Budget, Format, Metric
from tests.benchmarks.stages import bare_pass

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.analysis.value import Analysis
    from engine.types import Projection

CANDIDATES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
KEPT = 0.8


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Return a result and the processor seconds it took."""
    begun = time.process_time()
    result = work()
    return result, time.process_time() - begun


def cut(projection: Projection, kept: float) -> BlockRank:
    """Return the decision for one projection kept at a fraction of its parameters."""
    rank = uniform_rank(Format.LOW_RANK, kept, projection.in_features, projection.out_features)
    return BlockRank((projection.name,), Format.LOW_RANK, max(rank, 1))


def meet_budget(analysis: Analysis, harm: dict[tuple[str, float], float], budget: Budget) -> int:
    """Return the parameters at the lowest threshold at which the budget is met: the last step of the search."""

    def params_at(threshold: float) -> int:
        total = 0
        for p in analysis.inventory.projections:
            fitting = [kept for kept in CANDIDATES if harm[p.name, kept] <= threshold]
            total += (
                p.params
                if not fitting
                else rank_params(Format.LOW_RANK, cut(p, min(fitting)).rank or 0, p.in_features, p.out_features)
            )
        return total

    values = sorted(harm.values())
    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if params_at(values[middle]) <= budget.params else (middle + 1, high)
    return params_at(values[low])


def evaluation_seconds(module: Any, analysis: Analysis, store: DirectoryStore, tokens: Any, n: int) -> list[float]:
    """Return the seconds of ``n`` random evaluations of one projection cut alone."""
    every = [(p, kept) for p in analysis.inventory.projections for kept in CANDIDATES]
    spec = EvaluationSpec(analysis_spec(analysis).corpus, batch_size=2)
    reader = factors_reader(analysis, store, Metric.INPUT)
    seconds = []
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reference = take_reference(module, tokens, spec, ignore_progress)
        for projection, kept in random.Random(0).sample(every, n):
            begun = time.process_time()
            compressed = compress(module, [cut(projection, kept)], reader)
            measure(compressed, tokens, reference, spec, ignore_progress)
            seconds.append(time.process_time() - begun)
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis", nargs="?", default="")
    parser.add_argument("--n-sequences", type=int, default=2)
    parser.add_argument("--n-measured", type=int, default=24)
    chosen = parser.parse_args()
    here = home()
    store = here.store
    known = chosen.analysis
    if not known:
        known = analyse(here, Analyse().spec(), ignore_progress).fingerprint
    analysis = load_analysis(store, known)
    spec = analysis_spec(analysis)
    model = open_model(reopen_folder(here, analysis, ignore_progress).path, device="cpu")
    texts = resolve_texts(here, spec.corpus, ignore_progress)
    tokens = load_corpus(spec.corpus, model.tokenizer, texts).tokens[: chosen.n_sequences]
    inventory = analysis.inventory
    budget = Budget.of_kept_fraction(KEPT, inventory.compressible_params)

    seconds = evaluation_seconds(model.module, analysis, store, tokens, chosen.n_measured)
    n_all = len(inventory.projections) * len(CANDIDATES)
    evaluations_s = statistics.mean(seconds) * n_all
    harm = {(p.name, kept): predicted_increase(analysis, p, kept) for p in inventory.projections for kept in CANDIDATES}
    params, threshold_s = timed(lambda: meet_budget(analysis, harm, budget))
    assert params <= budget.params

    layers = list(range(inventory.n_layers))
    calibration = CalibrationSpec(batch_size=2)
    calibrate = lambda: collect_statistics(model.module, inventory, tokens, calibration, layers, ignore_progress)  # noqa: E731
    calibration_s = timed(calibrate)[1]
    names = {p.name for p in inventory.projections}
    pass_s = timed(lambda: bare_pass(model.module, tokens, names, 2))[1]
    curves = curves_by_metric(analysis)
    allocation_s = timed(lambda: allocate_rank_map(analysis, curves, "flrc", budget))[1]

    flrc_s = pass_s + allocation_s
    print(f"{tokens.numel()} tokens; {len(seconds)} of {n_all} evaluations measured, the rest extrapolated\n")
    print("| search | processor seconds | × FLRC |\n|---|---|---|")
    for name, value in (
        ("FLRC: one forward and backward pass", pass_s),
        ("FLRC: allocation", allocation_s),
        ("**FLRC in all**", flrc_s),
        ("the pass with every moment RankScope collects beside", calibration_s),
        (f"ASVD-style: one evaluation (mean of {len(seconds)})", statistics.mean(seconds)),
        (f"ASVD-style: {n_all:,} evaluations (extrapolated)", evaluations_s),
        ("ASVD-style: search for the threshold", threshold_s),
        ("**ASVD-style in all**", evaluations_s + threshold_s),
    ):
        print(f"| {name} | {value:.3f} | {value / flrc_s:.1f} |")


if __name__ == "__main__":
    main()
