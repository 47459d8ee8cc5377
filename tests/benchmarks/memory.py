"""Resident memory of a process that does nothing but open a model and run it, beside the dense model.

Run: python -m tests.benchmarks.memory ANALYSIS [--keep 0.8 0.6] [--dtypes float32 bfloat16]
The home is RANKSCOPE_HOME; models are exported to a temporary folder and opened there by transformers alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from engine.export.specs import ExportSpec
from engine.methods.allocate import Request, allocate_rank_map
from engine.pipeline.export import export
from engine.pipeline.opened import reopen_folder
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import RANK_FORMATS, Budget

STEPS = ("opened", "128 tokens", "8 generated", "100 tokens")
PROGRAM = """
import json, sys
import psutil, torch, transformers
from transformers import AutoModelForCausalLM

folder, dtype = sys.argv[1:]
used = []
note = lambda: used.append(psutil.Process().memory_info().rss / 1e6)
note()
model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype), trust_remote_code=True).eval()
note()
tokens = torch.arange(128)[None] + 100
with torch.inference_mode():
    model(tokens)
    note()
    model.generate(tokens, max_new_tokens=8, do_sample=False, pad_token_id=0)
    note()
    model(tokens[:, :100])
    note()
print(json.dumps(used))
"""


def used(folder: Path, dtype: str) -> list[float]:
    """Return the resident megabytes after each of :data:`STEPS`, without those of Python and its libraries."""
    out = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), dtype], check=True, capture_output=True)
    start, *after = json.loads(out.stdout.splitlines()[-1])
    return [megabytes - start for megabytes in after]


def print_row(name: str, dtype: str, folder: Path) -> None:
    cells = " | ".join(f"{megabytes:,.0f}" for megabytes in used(folder, dtype))
    sys.stdout.write(f"| {name} | {dtype} | {cells} |\n")
    sys.stdout.flush()


def main() -> None:
    """Export, open and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("analysis")
    parser.add_argument("--keep", type=float, nargs="+", default=(0.8, 0.6))
    parser.add_argument("--dtypes", nargs="+", default=("float32", "bfloat16"))
    chosen = parser.parse_args()
    analysis = load_analysis(home().store, chosen.analysis)
    curves = curves_by_metric(analysis)
    sys.stdout.write(f"| model | type | {' | '.join(STEPS)} |\n|---|---|{'---|' * len(STEPS)}\n")
    for dtype in chosen.dtypes:
        print_row("dense", dtype, reopen_folder(home(), analysis, ignore_progress).path)
        for keep in chosen.keep:
            for name, formats in (("ranks", RANK_FORMATS), ("ranks or widths", None)):
                budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
                rank_map = allocate_rank_map(analysis, curves, "water-filling", budget, Request(formats=formats))
                with tempfile.TemporaryDirectory() as parent:
                    folder = Path(parent) / "model"
                    export(home(), analysis.id, rank_map, folder, ExportSpec(dtype=dtype), ignore_progress)
                    print_row(f"{name}, kept {keep:g}", dtype, folder)


if __name__ == "__main__":
    main()
