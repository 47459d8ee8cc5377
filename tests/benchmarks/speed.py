"""Seconds of maps over those of the dense model, prompt and decoding, and seconds to apply them.

Run: python -m tests.benchmarks.speed ANALYSIS [--keep 0.8 0.6] [--times 0.9] [--batches 1 8] [--repetitions 5]
With ``--times`` also maps that are predicted to take so much of the dense model's time for a token on this machine
with one sequence, which ``rankscope devices --measure`` has measured. The home is RANKSCOPE_HOME; all models of one
number type and batch take turns, and a ratio is of one turn.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import Counter

from torch import nn

from engine.devices.known import THIS_MACHINE, get_device
from engine.evaluation.cost import time_beside
from engine.evaluation.specs import CostSpec
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.methods.time_budget import Situation, time_rule
from engine.pipeline.opened import OpenedAnalysis, open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import RANK_FORMATS, Budget, Format

ROWS: tuple[tuple[str, str, frozenset[Format] | None], ...] = (
    ("ranks (water-filling)", "water-filling", RANK_FORMATS),
    ("ranks or widths (water-filling)", "water-filling", None),
    ("widths, each MLP its own", "water-filling", frozenset({Format.WIDTH})),
    ("the same width everywhere (width)", "width", None),
)


def applied(opened: OpenedAnalysis, row: tuple[str, str, frozenset[Format] | None], keep: float) -> list[nn.Module]:
    """Return the model of a row three times, and print how long each took."""
    name, method, formats = row
    budget = Budget.of_kept_fraction(keep, opened.analysis.inventory.compressible_params)
    curves = curves_by_metric(opened.analysis)
    rank_map = allocate_rank_map(opened.analysis, curves, method, budget, Request(formats=formats))
    seconds, modules = [], []
    for _ in range(3):
        begun = time.perf_counter()
        modules.append(opened.compress(rank_map))
        seconds.append(time.perf_counter() - begun)
    sys.stdout.write(f"| {name}, kept {keep:g} | applied in {min(seconds):.2f} to {max(seconds):.2f} s |\n")
    return modules


def applied_for_time(opened: OpenedAnalysis, share: float, dtype: str) -> nn.Module:
    """Return the model that is predicted to take a share of the dense model's time, and print what it keeps."""
    analysis = opened.analysis
    situation = Situation(THIS_MACHINE, get_device(home(), THIS_MACHINE, dtype), dtype)
    dense_s = situation.forecast((), analysis.inventory).step_s
    rule = time_rule(analysis, "water-filling", curves_by_metric(analysis), Request(), situation)
    rank_map = rule.allocate(share * dense_s)
    cost = cost_of(analysis, rank_map)
    used = ", ".join(f"{n} {name}" for name, n in Counter(block.format for block in rank_map.blocks).most_common())
    sys.stdout.write(
        f"| {share:g} of the time, {dtype}: kept {cost.kept_fraction:.3f}, {cost.nats:.3f} nats predicted | {used} |\n"
    )
    return opened.compress(rank_map)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis")
    parser.add_argument("--keep", type=float, nargs="*", default=(0.8, 0.6))
    parser.add_argument("--times", type=float, nargs="*", default=())
    parser.add_argument("--batches", type=int, nargs="+", default=(1, 8))
    parser.add_argument("--repetitions", type=int, default=5)
    chosen = parser.parse_args()
    analysis = load_analysis(home().store, chosen.analysis)
    spec = CostSpec(repetitions=chosen.repetitions)
    named = [(row, keep) for keep in chosen.keep for row in ROWS]
    cells: dict[str, list[str]] = {f"{row[0]}, kept {keep:g}": [] for row, keep in named}
    cells |= {f"{share:g} of the dense model's time, as predicted": [] for share in chosen.times}
    heads = []
    for dtype in ("float32", "bfloat16"):
        opened = open_analysis(home(), analysis, ignore_progress, dtype=dtype, device="cpu")
        modules = [opened.dense.module, *(applied(opened, row, keep)[0] for row, keep in named)]
        modules += [applied_for_time(opened, share, dtype) for share in chosen.times]
        for batch in chosen.batches:
            dense, *others = time_beside(modules, batch, spec, ignore_progress)
            heads.append(f"{dtype}, batch {batch}: prompt, decode")
            for of_row, found in zip(cells.values(), others, strict=True):
                prefill = statistics.median(a / b for a, b in zip(found.prefill, dense.prefill, strict=True))
                decode = statistics.median(a / b for a, b in zip(found.decode, dense.decode, strict=True))
                of_row.append(f"{prefill:.2f}, {decode:.2f}")
    sys.stdout.write(f"\n| seconds over dense | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}\n")
    for name, of_row in cells.items():
        sys.stdout.write(f"| {name} | {' | '.join(of_row)} |\n")


if __name__ == "__main__":
    main()
