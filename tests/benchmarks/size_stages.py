"""Peak memory of every stage on a made-up LLaMA that is left in its files, by number of layers.

Run: python -m tests.benchmarks.size_stages [--layers 6 30] [--width 384] [--inner 1024] ...
Every stage runs in a process of its own, which takes the free memory for 0. What grows with the layers is held of all
of them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.export.specs import ExportSpec
from engine.methods.allocate import allocate_rank_map
from engine.pipeline import plan
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.export import export
from engine.pipeline.reading.analyses import analysis_headings, curves_by_metric, load_analysis
from engine.pipeline.refine import refine
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import (
    AnalysisSpec,
    CalibrationSpec,
    CorpusSpec,
    EvaluationSpec,
    ModelSpec,
    RefinementSpec,
)
from engine.types import Budget, Metric
from tests.benchmarks.size import alone, llama_config, peak_bytes, write_llama
from tests.support.analysed_toy import write_corpus

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

STAGES = ("nothing", "analyse", "evaluate", "correct", "export")
DTYPE = "bfloat16"


def stage(root: Path, scratch: Path, name: str, n_sequences: int, length: int) -> dict[str, float]:
    """Run one stage in the home below ``root`` and return the peak of memory of this process."""
    plan.free_memory_bytes = lambda: 0
    home, text = Home(root / "home"), str(root / "text.txt")
    corpus = CorpusSpec.parse(text, part="calibration", n_sequences=n_sequences, length=length)
    if name == "analyse":
        passes = CalibrationSpec(compute_dtype=DTYPE)
        spec = AnalysisSpec(ModelSpec.parse(str(root / "model")), corpus, passes, metrics=(Metric.LOSS,))
        analyse(home, spec, ignore_progress, device="cpu", stream=True)
    elif name != "nothing":
        analysis = load_analysis(home.store, analysis_headings(home.store)[0].id)
        rank_map = _mapped(analysis)
        if name == "evaluate":
            session = EvaluationSession(home, analysis.id, EvaluationSpec(corpus, DTYPE), ignore_progress, device="cpu")
            session.measure(rank_map, ignore_progress)
        elif name == "correct":
            spec = RefinementSpec(compute_dtype=DTYPE)
            refine(home, analysis.id, rank_map, spec, ignore_progress, device="cpu")
        else:
            export(home, analysis.id, rank_map, scratch / "export", ExportSpec(), ignore_progress)
    return {"peak": peak_bytes()}


def _mapped(analysis: Analysis) -> RankMap:
    budget = Budget.of_kept_fraction(0.6, analysis.inventory.compressible_params)
    return allocate_rank_map(analysis, curves_by_metric(analysis), "water-filling", budget)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 30])
    for name, default in {
        "width": 384, "inner": 1024, "heads": 6, "kv-heads": 6, "vocabulary": 1024, "sequences": 2, "length": 128,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    peaks: dict[int, dict[str, float]] = {}
    sizes = {}
    for n_layers in given.layers:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            (root / "model").mkdir()
            write_llama(root / "model", llama_config(given, n_layers))
            write_corpus(root / "text.txt")
            sizes[n_layers] = sum(file.stat().st_size for file in (root / "model").glob("*.safetensors"))
            peaks[n_layers] = {name: alone(stage, root, name, given.sequences, given.length)["peak"] for name in STAGES}
    sys.stdout.write(f"| peak resident memory, MB | {' | '.join(f'{n} layers' for n in given.layers)} |\n")
    sys.stdout.write("|---" * (1 + len(peaks)) + "|\n")
    sys.stdout.write(f"| the model in {DTYPE} | {' | '.join(f'{sizes[n] / 1e6:.0f}' for n in given.layers)} |\n")
    for name in STAGES:
        sys.stdout.write(f"| {name} | {' | '.join(f'{peaks[n][name] / 1e6:.0f}' for n in given.layers)} |\n")


if __name__ == "__main__":
    main()
