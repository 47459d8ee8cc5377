"""What correction and training gain on maps of several methods, in and out of domain, beside the dense model.

Run: python -m tests.benchmarks.refinement ANALYSIS [--keep 0.8 0.6] [--methods water-filling skipcat]
         [--steps corrected trained] [--minutes 30] [--train-sequences 1024] [--n-sequences 10] [--other-sequences 10]
The home is RANKSCOPE_HOME; what it holds is not computed again. One line per map and step, as it comes. `trained` goes
without the correction, `both` after it.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from engine.methods.allocate import allocate_rank_map
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.refine import refine
from engine.progress import ignore_progress
from engine.settings import home
from engine.specs import CorpusSpec, EvaluationSpec, RefinementSpec, TrainingSpec
from engine.types import Budget

if TYPE_CHECKING:
    from cache import Key
    from engine.rank_map.document import RankMap

USUAL = TrainingSpec()
STEPS = ("plain", "corrected", "trained", "both")


def spec_of(step: str, training: TrainingSpec) -> RefinementSpec | None:
    """Return the refinement a step stands for."""
    if step == "plain":
        return None
    return RefinementSpec(None if step == "corrected" else training, correct=step != "trained")


def sessions_on(analysis_id: str, n_sequences: int, other_sequences: int) -> list[EvaluationSession]:
    """Return sessions on held-out text in and out of domain, those of 0 sequences left out."""
    texts = [(text, n) for text, n in (("demo", n_sequences), ("demo:news", other_sequences)) if n]
    corpora = [CorpusSpec.parse(text, part="evaluation", n_sequences=n, length=512) for text, n in texts]
    return [EvaluationSession(home(), analysis_id, EvaluationSpec(corpus), ignore_progress) for corpus in corpora]


def line(
    sessions: list[EvaluationSession], rank_map: RankMap, keep: float, step: str, spec: RefinementSpec | None
) -> str:
    """Refine a map, measure it on every text, and return a line of the table."""
    begun = time.monotonic()
    key: Key | None = None
    detail = ""
    if spec is not None:
        key = refine(home(), sessions[0].analysis.id, rank_map, spec, ignore_progress)
        document = sessions[0].store.read(key).json("refinement.json")
        if spec.training is not None:
            divergences = document["held_out_divergences"]
            detail = f"{document['steps']} steps, {divergences[0]:.3f} to {min(divergences):.3f} nats"
    minutes = (time.monotonic() - begun) / 60
    found = [session.measure(rank_map, ignore_progress, key) for session in sessions]
    ratios = " / ".join(f"{one.perplexity / one.dense_perplexity:.3f}" for one in found)
    return f"| {rank_map.method} | {keep:g} | {step} | {ratios} | {minutes:.1f} | {detail} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis")
    parser.add_argument("--keep", type=float, nargs="+", default=[0.8, 0.6])
    parser.add_argument("--methods", nargs="+", default=["water-filling"])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--minutes", type=float, default=USUAL.minutes)
    parser.add_argument("--train-sequences", type=int, default=USUAL.n_sequences)
    parser.add_argument("--learning-rate", type=float, default=USUAL.learning_rate)
    parser.add_argument("--n-sequences", type=int, default=10)
    parser.add_argument("--other-sequences", type=int, default=10)
    chosen = parser.parse_args()
    analysis = load_analysis(home().store, chosen.analysis)
    sessions = sessions_on(analysis.id, chosen.n_sequences, chosen.other_sequences)
    training = TrainingSpec(chosen.train_sequences, learning_rate=chosen.learning_rate, minutes=chosen.minutes)
    curves = curves_by_metric(analysis)
    sys.stdout.write(
        "| method | kept | step | × dense in / out of domain | minutes | training |\n|---|---|---|---|---|---|\n"
    )
    for keep in chosen.keep:
        budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
        for method in chosen.methods:
            rank_map = allocate_rank_map(analysis, curves, method, budget)
            for step in chosen.steps:
                sys.stdout.write(line(sessions, rank_map, keep, step, spec_of(step, training)))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
