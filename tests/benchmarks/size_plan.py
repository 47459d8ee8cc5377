"""What is said of a whole streamed analysis before it starts, and what it takes, on a made-up LLaMA of random weights.

Run: python -m tests.benchmarks.size_plan [--layers 1] [--width 4096] [--sequences 2] [--metrics loss] ...
Statistics, decompositions and weighing run in a process of its own, in a temporary home.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.operations import Analyse
from engine.results.words import duration, megabytes
from engine.settings import Home
from tests.benchmarks.size import add_shapes, alone, llama_config, now, peak_bytes, write_llama
from tests.conftest import TOY_LINES

if TYPE_CHECKING:
    from engine.pipeline.plan import AnalysisPlan


def operation(folder: Path, given: argparse.Namespace) -> Analyse:
    """Return the analysis of a model, with a text beside it that is long enough to weigh depths, too."""
    text, words = folder.parent / "text.txt", " ".join(TOY_LINES).split()
    draw = random.Random(0)
    n_words = (given.sequences + 8) * given.length
    text.write_text("\n".join(" ".join(draw.choices(words, k=20)) for _ in range(n_words // 20 + 1)), encoding="utf-8")
    return Analyse(
        model=str(folder),
        text=str(text),
        n_sequences=given.sequences,
        length=given.length,
        metrics=given.metrics,
        stream=True,
        device="cpu",
    )


def analysed(folder: Path, scratch: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Return what an analysis says beforehand, and the seconds, memory and disk that it takes."""
    said: list[str] = []
    began: dict[str, float] = {}

    def look(stage: str, fraction: float | None, message: str) -> None:
        began.setdefault(stage, time.monotonic())
        if message.startswith("Plan: about"):
            said.append(message)

    home, wanted = Home(scratch / "home"), operation(folder, given)
    plan, begun = wanted.plan(), now()
    wanted.run(home, look)
    seconds, processor = now() - begun
    disk = sum(file.stat().st_size for file in home.store.root.rglob("*") if file.is_file())
    return {
        "plan": plan,
        "said": said[0],
        "seconds": seconds,
        "processor": processor,
        "stages": {stage: at - begun[0] for stage, at in began.items()},
        "peak": peak_bytes(),
        "disk": disk,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_shapes(parser, layers=1, sequences=2, length=256)
    parser.add_argument("--metrics", nargs="+", default=["loss"])
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as above:
        folder = Path(above) / "model"
        folder.mkdir()
        write_llama(folder, llama_config(given, given.layers))
        found = alone(analysed, folder, given)
    plan: AnalysisPlan = found["plan"]
    stages = ", ".join(f"{stage} from {seconds:.0f} s" for stage, seconds in found["stages"].items())
    sys.stdout.write(
        f"{found['said']}\nTook {duration(found['seconds'])} ({stages}), {found['processor']:.0f} s of the processor; "
        f"{megabytes(found['peak'])} of memory ({found['peak'] / plan.memory_bytes:.2f} of what was planned); "
        f"{megabytes(found['disk'])} of disk ({found['disk'] / plan.kept_bytes:.2f})\n"
    )


if __name__ == "__main__":
    main()
