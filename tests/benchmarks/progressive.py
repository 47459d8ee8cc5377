"""FLRC's claim on summaries: progressive decoding against a static model at equal mean active parameters.

Every progressive schedule is run first; the static FLRC map it is compared with gets exactly the mean of the
active parameters over the tokens that were generated, so that both spend the same per generated token.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch

from engine.decoding.schedules import RankSchedule
from engine.evaluation.summaries import (
    DEFAULT_TEMPLATE,
    MEASURES,
    Summaries,
    SummarySpec,
    build_prompts,
    write_summaries,
)
from engine.methods.allocate import Request, allocate_rank_map
from engine.model.sources import resolve_texts
from engine.operations import Analyse
from engine.pipeline.analyse import analyse
from engine.pipeline.generate import GenerationSession, Variant
from engine.pipeline.reading.analyses import curves_by_metric
from engine.progress import ignore_progress
from engine.settings import home
from engine.specs import CorpusSpec
from engine.text.pairs import load_pairs
from engine.types import Budget, Format


class Study:
    """One session and the articles every variant summarises."""

    def __init__(self, model: str, spec: SummarySpec, method: str) -> None:
        here = home()
        key = analyse(here, Analyse(model=model).spec(), ignore_progress)
        self.spec, self.method = spec, method
        self.session = GenerationSession(here, key.fingerprint, ignore_progress, dtype=spec.dtype)
        texts = resolve_texts(here, spec.corpus, ignore_progress)
        self.pairs = load_pairs(spec.corpus, spec.reference_field, texts)
        self.prompts = build_prompts(self.session.model, self.pairs, spec)
        self.rows: list[str] = []

    def write(self, name: str, variant: Variant) -> tuple[Summaries, float]:
        """Summarise with a variant; return what it wrote and the mean active parameters per generated token."""
        references = [pair.reference for pair in self.pairs]
        tokenizer = self.session.model.tokenizer
        found = write_summaries(variant.decoder, tokenizer, self.prompts, references, self.spec, ignore_progress)
        mean = float(np.concatenate([variant.active_params(n) for n in found.n_tokens]).mean())
        dense = self.session.analysis.inventory.compressible_params
        cells = [name, f"{variant.params / dense:.3f}", f"{mean / dense:.3f}", f"{variant.resident_params / dense:.3f}"]
        for measure in MEASURES:
            interval = found.interval(measure, self.spec)
            cells.append(f"{100 * interval.mean:.2f} [{100 * interval.low:.2f}, {100 * interval.high:.2f}]")
        cells += [f"{found.n_tokens.mean():.1f}", f"{found.seconds:.0f}"]
        self.rows.append("| " + " | ".join(cells) + " |")
        sys.stderr.write(self.rows[-1] + "\n" + "".join(f"  {text[:160]!r}\n" for text in found.texts[:3]))
        return found, mean

    def static(self, params: float) -> Variant:
        """Return the static model of a budget."""
        analysis = self.session.analysis
        budget = Budget(int(params), analysis.inventory.compressible_params)
        formats = frozenset({Format.LOW_RANK})
        curves = curves_by_metric(analysis)
        return self.session.compressed(
            allocate_rank_map(analysis, curves, self.method, budget, Request(formats=formats))
        )


def difference_row(name: str, first: Summaries, second: Summaries, spec: SummarySpec) -> str:
    cells = [name]
    for measure in MEASURES:
        found = first.difference(second, measure, spec)
        cells.append(f"{100 * found.mean:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="what `rankscope analyse` takes")
    parser.add_argument("--articles", type=int, default=100)
    parser.add_argument("--article-tokens", type=int, default=300)
    parser.add_argument("--new-tokens", type=int, default=40)
    parser.add_argument("--min-new-tokens", type=int, default=0)
    parser.add_argument("--template", default=DEFAULT_TEMPLATE)
    parser.add_argument("--chat", action=argparse.BooleanOptionalAction)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--method", default="flrc")
    parser.add_argument("--stages", type=int, default=4)
    parser.add_argument("--schedules", default="0.9:0.8,0.85:0.65", help="start:end, comma-separated")
    parser.add_argument("--text", default="demo:news")
    chosen = parser.parse_args()
    corpus = CorpusSpec.parse(chosen.text, part="evaluation", n_sequences=chosen.articles, length=chosen.article_tokens)
    spec = SummarySpec(
        corpus,
        template=chosen.template,
        chat=chosen.chat,
        max_new_tokens=chosen.new_tokens,
        min_new_tokens=chosen.min_new_tokens,
        dtype=chosen.dtype,
        batch_size=chosen.batch_size,
    )
    begun = time.monotonic()
    study = Study(chosen.model, spec, chosen.method)
    study.write("dense", study.session.dense())
    differences = []
    for pair in chosen.schedules.split(","):
        start, end = map(float, pair.split(":"))
        schedule = RankSchedule.staged(start, end, chosen.stages, -(-chosen.new_tokens // chosen.stages))
        name = f"progressive {start:g} → {end:g}"
        progressive, mean = study.write(name, study.session.progressive(schedule, chosen.method))
        static, _ = study.write("static at its mean", study.static(mean))
        differences.append(difference_row(f"{name} − static", progressive, static, spec))
        sys.stderr.write(differences[-1] + "\n")
    head = ["model", "kept: prompt", "kept: mean of generated", "kept: resident"]
    head += ["ROUGE-1", "ROUGE-2", "ROUGE-L", "tokens", "seconds"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *study.rows, ""]
    lines += ["| paired difference | ROUGE-1 | ROUGE-2 | ROUGE-L |", "|---|---|---|---|", *differences]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.write(f"\n{vars(chosen)}; template {spec.template!r}; {torch.get_num_threads()} threads; ")
    sys.stdout.write(f"{time.monotonic() - begun:.0f} s in all\n")


if __name__ == "__main__":
    main()
