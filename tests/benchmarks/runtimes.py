"""Speed of the dense and of compressed models as files, in turns in one process of the runtime they are for.

Run: python -m tests.benchmarks.runtimes onnx|gguf [ANALYSIS] [--method width] [--keep 0.7] [--rounded]
The home is RANKSCOPE_HOME; without ANALYSIS the demo is analysed first. ONNX Runtime needs the extra ``onnx``,
llama.cpp the extra ``gguf``. Every GGUF file is compared with the model it was written from, as an export is. Figures
are medians over repetitions, ratios those to the dense model in the same number type of the same repetition.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.export.gguf.writer import export_gguf
from engine.methods.allocate import allocate_rank_map
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

PROMPT, NEW = 128, 32
Timed = tuple[float, float]


class Runner(NamedTuple):
    """A file in its runtime.

    Attributes:
        n_bytes: of the file.
        timed: prompt (1, n) -> seconds of the prompt, and of one token after it.
        checked: how it was found to be the model it was written from.
    """

    n_bytes: int
    timed: Callable[[np.ndarray], Timed]
    checked: str


def onnx(module: nn.Module, _: object, folder: Path, threads: int, *, rounded: bool) -> Runner:
    """Write a graph, of int8 weights if ``rounded``, and open it."""
    import onnxruntime

    from engine.export.onnx.generate import OnnxModel
    from engine.export.onnx.graph import write_graph
    from engine.export.onnx.quantized import quantize_graph
    from engine.export.onnx.writer import graph_bytes

    write_graph(module, folder)
    if rounded:
        quantize_graph(folder)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = OnnxModel(folder, options)

    def timed(prompt: np.ndarray) -> Timed:
        model.forget()
        begun = time.perf_counter()
        logits = model.read(prompt)
        read = time.perf_counter()
        for _ in range(NEW):
            logits = model.read(logits[:, -1:].argmax(-1))
        return read - begun, (time.perf_counter() - read) / NEW

    return Runner(graph_bytes(folder), timed, "")


def gguf(module: nn.Module, tokenizer: object, folder: Path, threads: int, *, rounded: bool) -> Runner:
    """Write a GGUF file, of float16 or of int8 weights, compare it with the model, and open it."""
    from llama_cpp import Llama

    found = export_gguf(module, tokenizer, folder, ignore_progress, "int8" if rounded else "float16")
    (file,) = folder.glob("*.gguf")
    model = Llama(str(file), n_ctx=PROMPT + NEW + 1, n_threads=threads, n_threads_batch=threads, verbose=False)

    def timed(prompt: np.ndarray) -> Timed:
        model.reset()
        begun = time.perf_counter()
        model.eval(prompt[0].tolist())
        read = time.perf_counter()
        for _ in range(NEW):
            model.eval([model.sample(temp=0.0)])
        return read - begun, (time.perf_counter() - read) / NEW

    checked = f"{found.max_logit_difference:.3f} of {found.largest_logit:.1f}; {found.same_top:.0%} of tokens the same"
    return Runner(file.stat().st_size, timed, checked)


RUNTIMES = {"onnx": onnx, "gguf": gguf}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("analysis", nargs="?")
    parser.add_argument("--method", default="width")
    parser.add_argument("--keep", type=float, nargs="+", default=(0.7,))
    parser.add_argument("--rounded", action="store_true", help="the same models with int8 weights, too")
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
        modules[f"{chosen.method}, kept {keep:g}"] = opened.compress(rank_map)
    runners: dict[tuple[str, bool], Runner] = {}
    with tempfile.TemporaryDirectory() as root:
        for label, module in modules.items():
            for rounded in (False, True) if chosen.rounded else (False,):
                folder = Path(root, str(len(runners)))
                folder.mkdir()
                runners[label, rounded] = RUNTIMES[chosen.runtime](
                    module, opened.dense.tokenizer, folder, chosen.threads, rounded=rounded
                )
        prompt = np.random.default_rng(0).integers(5, 1000, (1, PROMPT))
        turns = [{one: runner.timed(prompt) for one, runner in runners.items()} for _ in range(chosen.repetitions + 1)]
    heads = (
        "model",
        "MB",
        "logits differ by; same tokens",
        "prompt, tokens/s",
        "× dense",
        "decode, tokens/s",
        "× dense",
    )
    sys.stdout.write(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}\n")
    for (label, rounded), runner in runners.items():
        cells = [f"{label}{', int8' if rounded else ''}", f"{runner.n_bytes / 1e6:.1f}", runner.checked]
        for part, tokens in ((0, PROMPT), (1, 1)):
            seconds = [turn[label, rounded][part] for turn in turns[1:]]
            dense = [turn["dense", rounded][part] for turn in turns[1:]]
            ratios = [theirs / ours for ours, theirs in zip(seconds, dense, strict=True)]
            cells += [f"{tokens / statistics.median(seconds):.1f}", f"{statistics.median(ratios):.2f}"]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
