"""Speed of the dense and of compressed models as ONNX graphs, in turns in one process of ONNX Runtime.

Run: python -m tests.benchmarks.onnx [ANALYSIS] [--keep 0.8 0.6] [--rounded]
The home is RANKSCOPE_HOME; without ANALYSIS the demo is analysed first. Needs the extra ``onnx``. Figures are medians
over repetitions, ratios those to the dense graph of the same repetition.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

from engine.export.onnx.generate import OnnxModel
from engine.export.onnx.graph import write_graph
from engine.export.onnx.quantized import quantize_graph
from engine.export.onnx.writer import graph_bytes
from engine.methods.allocate import allocate_rank_map
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import Budget

PROMPT, NEW = 128, 32


def rounded(folder: Path) -> Path:
    """Return a copy of a graph with int8 weights."""
    copied = shutil.copytree(folder, folder.with_name(f"{folder.name}-int8"))
    quantize_graph(copied)
    return copied


def timed(model: OnnxModel, prompt: np.ndarray) -> tuple[float, float]:
    """Return seconds of the prompt, and of one token after it."""
    model.forget()
    begun = time.perf_counter()
    logits = model.read(prompt)
    read = time.perf_counter()
    for _ in range(NEW):
        logits = model.read(logits[:, -1:].argmax(-1))
    return read - begun, (time.perf_counter() - read) / NEW


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("analysis", nargs="?")
    parser.add_argument("--method", default="water-filling")
    parser.add_argument("--keep", type=float, nargs="+", default=(0.8, 0.6))
    parser.add_argument("--rounded", action="store_true", help="the same graphs rounded to int8, too")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    place = home()
    name = chosen.analysis or analyse(place, Analyse().spec(), ignore_progress).fingerprint
    analysis = load_analysis(place.store, name)
    opened = open_analysis(place, analysis, ignore_progress, dtype="float32", device="cpu")
    modules = {"dense": opened.dense.module}
    for keep in chosen.keep:
        budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
        rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), chosen.method, budget)
        modules[f"{chosen.method}, kept {keep}"] = opened.compress(rank_map)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = chosen.threads
    with tempfile.TemporaryDirectory() as root:
        folders = {}
        for at, (label, module) in enumerate(modules.items()):
            folder = folders[label] = Path(root, str(at))
            folder.mkdir()
            write_graph(module, folder)
        if chosen.rounded:
            folders |= {f"{label}, int8": rounded(folder) for label, folder in folders.items()}
        del modules, opened
        sizes = {label: graph_bytes(folder) for label, folder in folders.items()}
        models = {label: OnnxModel(folder, options) for label, folder in folders.items()}
        prompt = np.random.default_rng(0).integers(5, 1000, (1, PROMPT))
        measured = {label: [timed(model, prompt)] for label, model in models.items()}
        for _ in range(chosen.repetitions):
            for label, model in models.items():
                measured[label].append(timed(model, prompt))
    heads = ("graph", "MB", "prompt, tokens/s", "× dense", "decode, tokens/s", "× dense")
    sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
    for label, runs in measured.items():
        cells = [label, f"{sizes[label] / 1e6:.1f}"]
        for part, tokens in ((0, PROMPT), (1, 1)):
            pairs = [(run[part], dense[part]) for run, dense in zip(runs[1:], measured["dense"][1:], strict=True)]
            cells.append(f"{tokens / statistics.median(ours for ours, _ in pairs):.1f}")
            cells.append(f"{statistics.median(theirs / ours for ours, theirs in pairs):.2f}")
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
