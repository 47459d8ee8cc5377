"""Speed of the dense and of compressed models as files, in turns in one process of the runtime they are for.

Run: python -m tests.benchmarks.runtimes onnx|gguf [ANALYSIS] [--method width] [--keep 0.7] [--rounded] [--files DIR]
The home is RANKSCOPE_HOME; without ANALYSIS the demo is analysed first. ONNX Runtime needs the extra ``onnx``,
llama.cpp the extra ``gguf``. Every GGUF file is compared with the model it was written from, as an export is. Figures
are medians over repetitions, ratios those to the dense model in the same number type of the same repetition. Writing
takes longer than timing: files are kept in DIR, where there is one, and a second run with it only times them; with
--repetitions 0 nothing is timed.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from engine.export.gguf.writer import export_gguf
from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.presets import AllocationSettings
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import home
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

PROMPT, NEW = 128, 32
Timed = tuple[float, float]


CHECKED = "checked.txt"
"""In a folder that was written to its end: how its file was found to be the model it was written from."""


class Runner(NamedTuple):
    """A file in its runtime.

    Attributes:
        n_bytes: of the file.
        timed: prompt (1, n) -> seconds of the prompt, and of one token after it.
    """

    n_bytes: int
    timed: Callable[[np.ndarray], Timed]


def write_onnx(module: nn.Module, _: object, folder: Path, plain: Path | None) -> str:
    """Write a graph, or round the weights of the one that is in ``plain``."""
    from engine.export.onnx.graph import write_graph
    from engine.export.onnx.quantized import quantize_graph

    if plain is None:
        write_graph(module, folder)
    else:
        shutil.copytree(plain, folder, ignore=shutil.ignore_patterns(CHECKED), dirs_exist_ok=True)
        quantize_graph(folder)
    return ""


def open_onnx(folder: Path, threads: int) -> Runner:
    """Open a graph in ONNX Runtime."""
    import onnxruntime

    from engine.export.onnx.generate import OnnxModel
    from engine.export.onnx.writer import graph_bytes

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

    return Runner(graph_bytes(folder), timed)


def write_gguf(module: nn.Module, tokenizer: object, folder: Path, plain: Path | None) -> str:
    """Write a GGUF file, of float16 or (beside a plain one) of int8 weights, and compare it with the model."""
    found = export_gguf(module, tokenizer, folder, ignore_progress, "float16" if plain is None else "int8")
    return f"{found.max_logit_difference:.3f} of {found.largest_logit:.1f}; {found.same_top:.0%} of tokens the same"


def open_gguf(folder: Path, threads: int) -> Runner:
    """Open a GGUF file in llama.cpp."""
    from llama_cpp import Llama

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

    return Runner(file.stat().st_size, timed)


RUNTIMES = {"onnx": (write_onnx, open_onnx), "gguf": (write_gguf, open_gguf)}


def write_missing(
    folders: Mapping[tuple[str, bool], Path], models: Mapping[str, RankMap | None], analysis: Analysis, runtime: str
) -> None:
    """Write the files that are not there yet, and tell how long each took."""
    missing = [one for one, folder in folders.items() if not (folder / CHECKED).exists()]
    if not missing:
        return
    write, _ = RUNTIMES[runtime]
    opened = open_analysis(home(), analysis, ignore_progress, dtype="float32", device="cpu")
    for label in dict.fromkeys(label for label, _ in missing):
        rank_map = models[label]
        module = opened.dense.module if rank_map is None else opened.compress(rank_map)
        for rounded in (rounded for one, rounded in missing if one == label):
            folder, begun = folders[label, rounded], time.perf_counter()
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            checked = write(module, opened.dense.tokenizer, folder, folders[label, False] if rounded else None)
            (folder / CHECKED).write_text(checked, encoding="utf-8")
            sys.stderr.write(f"{label}{', int8' if rounded else ''}: written in {time.perf_counter() - begun:.0f} s\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runtime", choices=RUNTIMES)
    parser.add_argument("analysis", nargs="?")
    parser.add_argument("--method", default="width")
    parser.add_argument("--keep", type=float, nargs="+", default=(0.7,))
    parser.add_argument("--rank-step", type=int, default=1, help="ranks, or widths, are multiples of this")
    parser.add_argument("--rounded", action="store_true", help="the same models with int8 weights, too")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--files", default="", help="a folder in which files are kept")
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    place = home()
    name = chosen.analysis or analyse(place, Analyse().spec(), ignore_progress).fingerprint
    analysis = load_analysis(place.store, name)
    models: dict[str, RankMap | None] = {"dense": None}
    for keep in chosen.keep:
        budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
        request = Request(settings=AllocationSettings(rank_step=chosen.rank_step))
        rank_map = allocate_rank_map(analysis, curves_by_metric(analysis), chosen.method, budget, request)
        step = "" if chosen.rank_step == 1 else f" in steps of {chosen.rank_step}"
        models[f"{chosen.method}, kept {keep:g}{step}"] = rank_map
    types = (False, True) if chosen.rounded else (False,)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(chosen.files or scratch, analysis.id[:12], chosen.runtime)
        folders = {
            (label, rounded): root / f"{label}{', int8' if rounded else ''}" for label in models for rounded in types
        }
        write_missing(folders, models, analysis, chosen.runtime)
        if not chosen.repetitions:
            return
        _, opened_in = RUNTIMES[chosen.runtime]
        runners = {one: opened_in(folder, chosen.threads) for one, folder in folders.items()}
        checked = {one: (folder / CHECKED).read_text(encoding="utf-8") for one, folder in folders.items()}
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
        cells = [f"{label}{', int8' if rounded else ''}", f"{runner.n_bytes / 1e6:.1f}", checked[label, rounded]]
        for part, tokens in ((0, PROMPT), (1, 1)):
            seconds = [turn[label, rounded][part] for turn in turns[1:]]
            dense = [turn["dense", rounded][part] for turn in turns[1:]]
            ratios = [theirs / ours for ours, theirs in zip(seconds, dense, strict=True)]
            cells += [f"{tokens / statistics.median(seconds):.1f}", f"{statistics.median(ratios):.2f}"]
        sys.stdout.write(f"| {' | '.join(cells)} |\n")


if __name__ == "__main__":
    main()
