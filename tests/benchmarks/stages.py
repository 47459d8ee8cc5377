"""Seconds of every stage on one model, beside a bare forward and backward pass over the same tokens.

Run: python -m tests.benchmarks.stages [--model demo] [--n-sequences 64]
Uses a cold store in a temporary folder, except that what RANKSCOPE_HOME has of the model and the demo's texts is not
fetched or converted again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from cache import DirectoryStore
from engine.compression.apply import compress
from engine.methods.allocate import allocate_rank_map
from engine.methods.presets import PRESETS
from engine.model.opening import open_model
from engine.model.sources import resolve_model, resolve_texts
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.factors import factors_reader
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.pipeline.sequences import read_sequences
from engine.progress import ignore_progress
from engine.settings import Home, home
from engine.types import Budget


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    begun = time.monotonic()
    result = work()
    return result, time.monotonic() - begun


def bare_pass(module: nn.Module, tokens: torch.Tensor, names: set[str], batch_size: int) -> None:
    """Run forward and backward with weight gradients of the projections, and nothing else."""
    modules = dict(module.named_modules())
    wanted = {id(modules[name].weight) for name in names}
    for parameter in module.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    for start in range(0, len(tokens), batch_size):
        batch = tokens[start : start + batch_size]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = module(input_ids=batch, use_cache=False).logits
        flat = logits[:, :-1].float().flatten(0, 1)
        functional.cross_entropy(flat, batch[:, 1:].flatten(), reduction="sum").backward()
        for parameter in module.parameters():
            parameter.grad = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--n-sequences", type=int, default=64)
    spec = Analyse(**vars(parser.parse_args())).spec()
    warm = home()
    folder = resolve_model(warm, spec.model, ignore_progress)
    texts = resolve_texts(warm, spec.corpus, ignore_progress)
    rows: list[tuple[str, float]] = []
    with tempfile.TemporaryDirectory() as cold:
        shutil.copytree(warm.artifacts / "demo-texts", Path(cold) / "artifacts" / "demo-texts")
        store = DirectoryStore(Path(cold) / "artifacts")
        model = open_model(folder.path)
        tokens = read_sequences(model, spec.corpus, texts)
        names = {p.name for p in model.inventory.projections}
        bare_pass(model.module, tokens[:2], names, 2)
        rows.append(("bare forward + backward", timed(lambda: bare_pass(model.module, tokens, names, 2))[1]))
        key, total = timed(lambda: analyse(Home(Path(cold)), spec, ignore_progress, folder=folder))
        analysis = load_analysis(store, key.fingerprint)
        seconds = analysis.about["seconds"]
        rows += [("calibration", seconds["calibration"]), ("factorization", seconds["factorization"])]
        rows.append(("analysis in all", total))
        curves, curves_s = timed(lambda: curves_by_metric(analysis))
        rows.append(("curves", curves_s))
        budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
        for method in (name for name, preset in PRESETS.items() if not preset.needs_search):
            rank_map, allocated_s = timed(lambda m=method: allocate_rank_map(analysis, curves, m, budget))
            read = factors_reader(analysis, store, rank_map.metric)
            compress(model.module, rank_map.blocks, read)
            applied_s = timed(lambda r=rank_map, f=read: compress(model.module, r.blocks, f))[1]
            rows += [(f"{method}: allocate", allocated_s), (f"{method}: apply", applied_s)]
        peak = analysis.about["peak_memory_bytes"]
    bare = rows[0][1]
    sys.stdout.write("| stage | seconds | × bare |\n|---|---|---|\n")
    for name, value in rows:
        sys.stdout.write(f"| {name} | {value:.3f} | {value / bare:.2f} |\n")
    sys.stdout.write(f"\nPeak memory of the analysis: {peak / 1e9:.2f} GB; tokens: {tokens.numel()}\n")


if __name__ == "__main__":
    main()
