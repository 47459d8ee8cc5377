"""Seconds and processor seconds of applying rank maps; the first time reads the factors from the disk.

Run: python -m tests.benchmarks.applying ANALYSIS [--keep 0.8 0.6] [--dtypes float32 bfloat16] [--repetitions 5]
The home is RANKSCOPE_HOME. OMP_NUM_THREADS says on how many threads.
"""

from __future__ import annotations

import argparse
import sys
import time

from engine.methods.allocate import Request, allocate_rank_map
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import Budget
from tests.benchmarks.speed import ROWS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis")
    parser.add_argument("--keep", type=float, nargs="+", default=(0.8, 0.6))
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    parser.add_argument("--repetitions", type=int, default=5)
    chosen = parser.parse_args()
    analysis = load_analysis(home().store, chosen.analysis)
    curves, params = curves_by_metric(analysis), analysis.inventory.compressible_params
    sys.stdout.write("| map | type | first, s | least, s | least processor seconds |\n|---|---|---|---|---|\n")
    for dtype in chosen.dtypes:
        opened = open_analysis(home(), analysis, ignore_progress, dtype=dtype, device="cpu")
        opened.open()
        for label, method, formats in (*ROWS, ("skipcat", "skipcat", None), ("svd-llm", "svd-llm", None)):
            for keep in chosen.keep:
                budget = Budget.of_kept_fraction(keep, params)
                rank_map = allocate_rank_map(analysis, curves, method, budget, Request(formats=formats))
                taken = []
                for _ in range(chosen.repetitions):
                    begun, begun_cpu = time.perf_counter(), time.process_time()
                    opened.compress(rank_map)
                    taken.append((time.perf_counter() - begun, time.process_time() - begun_cpu))
                least, least_cpu = (min(column) for column in zip(*taken, strict=True))
                cells = f"{label}, kept {keep:g} | {dtype} | {taken[0][0]:.2f} | {least:.2f} | {least_cpu:.2f}"
                sys.stdout.write(f"| {cells} |\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()
