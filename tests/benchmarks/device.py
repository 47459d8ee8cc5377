"""The chain on this machine's accelerator and on its CPU: analyse, allocate, evaluate, generate.

Run: python -m tests.benchmarks.device [--n-sequences 8] [--device auto]
Every device begins with an empty store. The model is a toy of three layers, which shows that the chain runs and agrees,
and little of an accelerator's speed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from engine.methods.allocate import allocate_rank_map
from engine.model.module import resolve_device
from engine.model.sources import resolve_model
from engine.pipeline.analyse import analyse
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.generate import GenerationSession
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CalibrationSpec, CorpusSpec, EvaluationSpec, GenerationSpec, ModelSpec
from engine.types import Budget
from tests.conftest import train_toy_tokenizer
from tests.support.analysed_toy import save_toy_model, write_corpus

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.model.sources import ModelFolder

T = TypeVar("T")
PROMPT = "The river runs"


class Asked(NamedTuple):
    """What the chain is run on."""

    folder: ModelFolder
    corpus: CorpusSpec


class Ran(NamedTuple):
    """Seconds of every stage, and what has to agree between devices."""

    seconds: dict[str, float]
    perplexity: float
    dense_perplexity: float


def toy(scratch: Path, n_sequences: int) -> Asked:
    """Return a toy and its text."""
    folder = save_toy_model(scratch / "toy", train_toy_tokenizer())
    text = str(write_corpus(scratch / "corpus.txt"))

    corpus = CorpusSpec.parse(text, part="calibration", n_sequences=n_sequences, length=64)
    model = resolve_model(Home(scratch / "home"), ModelSpec.parse(str(folder)), ignore_progress)
    return Asked(model, corpus)


def chain(at: Path, asked: Asked, device: str) -> Ran:
    """Run every stage on a device, in float32, in an empty home."""
    own, seconds = Home(at), {}

    def timed(stage: str, work: Callable[[], T]) -> T:
        begun = time.monotonic()
        result = work()
        seconds[stage] = time.monotonic() - begun
        return result

    spec = AnalysisSpec(asked.folder.spec, asked.corpus, CalibrationSpec(compute_dtype="float32"))
    key = timed("analyse", lambda: analyse(own, spec, ignore_progress, device=device, folder=asked.folder))
    analysis = load_analysis(own.store, key.fingerprint)
    budget = Budget.of_kept_fraction(0.8, analysis.inventory.compressible_params)
    curves = curves_by_metric(analysis)
    rank_map = timed("allocate", lambda: allocate_rank_map(analysis, curves, "water-filling", budget))
    wanted = EvaluationSpec(asked.corpus, dtype="float32")
    session = timed(
        "open and measure the dense model",
        lambda: EvaluationSession(own, analysis.id, wanted, ignore_progress, device=device),
    )
    found = timed("evaluate", lambda: session.measure(rank_map, ignore_progress))
    writing = GenerationSession(own, analysis.id, ignore_progress, opened=session.opened)
    timed("compress", lambda: writing.compressed(rank_map))
    variant, prompt = writing.compressed(rank_map), writing.encode(PROMPT, GenerationSpec(), chat=False)
    tokens = GenerationSpec(max_new_tokens=32, min_new_tokens=32)
    timed("generate 32 tokens", lambda: writing.complete(variant, prompt, tokens))
    return Ran(seconds, found.perplexity, found.dense_perplexity)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n-sequences", type=int, default=8)
    parser.add_argument("--device", default="auto", help="auto, cuda, cuda:N or mps")
    chosen = parser.parse_args()
    device = resolve_device(chosen.device)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        asked = toy(scratch, chosen.n_sequences)
        ran = {"cpu": chain(scratch / "cpu", asked, "cpu")}
        if device.type == "cpu":
            sys.stdout.write("This machine has no accelerator that torch can use; the chain ran on the CPU alone.\n\n")
        else:
            chain(scratch / "warm", asked, str(device))  # the first run compiles and loads the device's kernels
            ran[str(device)] = chain(scratch / "device", asked, str(device))
    _print(ran)


def _print(ran: dict[str, Ran]) -> None:
    names, runs = list(ran), list(ran.values())
    ratio = len(runs) > 1
    sys.stdout.write(
        f"| stage | {' | '.join(f'{name}, s' for name in names)} |{' CPU over device |' if ratio else ''}\n"
    )
    sys.stdout.write("|---" * (1 + len(names) + ratio) + "|\n")
    for stage in runs[0].seconds:
        each = [one.seconds[stage] for one in runs]
        last = f" {each[0] / each[-1]:.2f} |" if ratio else ""
        sys.stdout.write(f"| {stage} | {' | '.join(f'{value:.3f}' for value in each)} |{last}\n")
    for name, one in ran.items():
        sys.stdout.write(f"\n{name}: perplexity {one.perplexity:.6f}, of the dense model {one.dense_perplexity:.6f}")
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
