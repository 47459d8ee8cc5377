"""Perplexity of every method on one model, in and out of domain, beside the dense model.

Run: python -m tests.benchmarks.quality [--keep 0.8,0.6] [--set model=FOLDER] [--set n_sequences=128]
The home is RANKSCOPE_HOME or a temporary one (a cold store); the table goes to standard output as Markdown.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.methods.allocate import Request, allocate_rank_map
from engine.methods.cost import cost_of
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home, home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import RANK_FORMATS, Budget, Format

ROWS: tuple[tuple[str, str, frozenset[Format] | None], ...] = (
    ("svd-llm: input metric, uniform, low-rank", "svd-llm", None),
    ("the same with cat", "svd-llm", frozenset({Format.CAT})),
    ("the same with skip", "svd-llm", frozenset({Format.SKIP})),
    ("skipcat: skip+cat", "skipcat", None),
    ("flrc: input metric, rank ∝ Σ(g·w)², low-rank", "flrc", None),
    ("water-filling on the loss metric, low-rank or cat", "water-filling", frozenset({Format.LOW_RANK, Format.CAT})),
    ("water-filling on the loss metric, best of all ranks", "water-filling", RANK_FORMATS),
    ("water-filling on the loss metric, best of all ranks and widths", "water-filling", None),
    ("water-filling on the loss metric, widths only", "water-filling", frozenset({Format.WIDTH})),
    ("width: every MLP keeps the same share of its neurons", "width", None),
)
TEXTS = (("demo", 20), ("demo:news", 10))


def say(message: str) -> None:
    sys.stderr.write(message + "\n")


def measured(home: Home, arguments: dict[str, Any], keeps: list[float], rows: list[int]) -> dict[str, Any]:
    """Return seconds, dense perplexities and, by row, keep and text, the measurement."""
    begun = time.monotonic()
    key = analyse(home, Analyse(**arguments).spec(), ignore_progress)
    say(f"analysis {key.fingerprint[:12]} after {time.monotonic() - begun:.0f} s")
    analysis = load_analysis(home.store, key.fingerprint)
    curves = curves_by_metric(analysis)
    results: dict[str, Any] = {"analysis": key.fingerprint, "seconds": analysis.about["seconds"], "dense": {}}
    for text, n_sequences in TEXTS:
        corpus = CorpusSpec.parse(text, part="evaluation", n_sequences=n_sequences, length=512)
        session = EvaluationSession(home, analysis.id, EvaluationSpec(corpus), ignore_progress)
        for keep in keeps:
            budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
            for index in rows:
                label, method, formats = ROWS[index]
                rank_map = allocate_rank_map(analysis, curves, method, budget, Request(formats=formats))
                found = session.measure(rank_map, ignore_progress)
                results["dense"][text] = found.dense_perplexity
                results[f"{label}|{keep}|{text}"] = {
                    "perplexity": found.perplexity,
                    "increase": found.increase,
                    "nats": cost_of(analysis, rank_map).nats,
                }
                say(f"{label} at {keep} on {text}: {found.perplexity:.2f}, {found.provenance.seconds} s")
    return results


def as_markdown(results: dict[str, Any], keeps: list[float], rows: list[int]) -> str:
    dense = results["dense"]
    head = ["method"]
    for keep in keeps:
        head += [f"kept {keep}: perplexity (× dense)", "out of domain", "½Σσ² / measured ΔNLL"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for index in rows:
        label = ROWS[index][0]
        cells = [label]
        for keep in keeps:
            for text, _ in TEXTS:
                ppl = results[f"{label}|{keep}|{text}"]["perplexity"]
                cells.append(f"{ppl:.2f} ({ppl / dense[text]:.2f})")
            inside = results[f"{label}|{keep}|demo"]
            cells.append(f"{inside['nats']:.3f} / {inside['increase']:.3f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([f"Dense: {dense['demo']:.2f} / {dense['demo:news']:.2f}.", "", *lines])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", default="0.8,0.6")
    parser.add_argument("--rows", default=",".join(map(str, range(len(ROWS)))), help="row numbers, comma-separated")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="an analyse argument")
    parser.add_argument("--cold", action="store_true", help="use a temporary home")
    chosen = parser.parse_args()
    arguments = {}
    for pair in chosen.set:
        name, _, value = pair.partition("=")
        default = Analyse.settings()[name].default
        arguments[name] = value if isinstance(default, str) else json.loads(value)
    keeps = [float(k) for k in chosen.keep.split(",")]
    rows = [int(r) for r in chosen.rows.split(",")]
    with tempfile.TemporaryDirectory() as cold:
        results = measured(Home(Path(cold)) if chosen.cold else home(), arguments, keeps, rows)
    sys.stdout.write(f"\nSettings: {arguments or 'defaults'}; seconds: {results['seconds']}\n\n")
    sys.stdout.write(as_markdown(results, keeps, rows) + "\n")


if __name__ == "__main__":
    main()
