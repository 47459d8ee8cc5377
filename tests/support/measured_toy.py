"""A toy model of which two maps were measured in every way, with hostile texts; really measured, nothing is made up."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cache import DirectoryStore
from engine.evaluation.specs import CostSpec, MemorySpec, SummarySpec
from engine.methods.allocate import allocate_rank_map
from engine.model.demo import MODEL_WHEEL, TEXTS_WHEEL
from engine.pipeline.analyse import analyse
from engine.pipeline.measure.plan import Plan, measure_all
from engine.pipeline.reading.analyses import curves_by_metric, load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, EvaluationSpec, ModelSpec
from engine.types import Budget
from tests.support.analysed_toy import save_toy_model, write_corpus

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerFast

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

HOSTILE = "<script>document.title='owned'</script><img src=http://example.org/x onerror=alert(1)> & \"quoted\""
"""What an article may contain."""


class MeasuredToy(NamedTuple):
    """The home, the analysis in it, and the measured maps: water-filling at 0.8 and flrc at 0.6."""

    home: Path
    analysis: Analysis
    maps: tuple[RankMap, RankMap]

    @property
    def store(self) -> DirectoryStore:
        """The home's store."""
        return Home(self.home).store


def measured_toy_in(home: Path) -> MeasuredToy:
    """Return what :func:`measure_toy` has put into a home."""
    store = Home(home).store
    analysis = load_analysis(store, store.keys("analysis")[0].fingerprint)
    return MeasuredToy(home, analysis, _maps(analysis))


def _maps(analysis: Analysis) -> tuple[RankMap, RankMap]:
    curves, dense = curves_by_metric(analysis), analysis.inventory.compressible_params
    return (
        allocate_rank_map(analysis, curves, "water-filling", Budget.of_kept_fraction(0.8, dense)),
        allocate_rank_map(analysis, curves, "flrc", Budget.of_kept_fraction(0.6, dense)),
    )


def measure_toy(home: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    """Analyse a toy and measure two maps of it: perplexity, two tasks, summaries, speed; of the first, memory too."""
    store = Home(home).store
    lines = [f"The river number {i} runs to the sea and the sea is not full." for i in range(6)]
    items = [
        {"question": line[:16], "options": "A. the sea\nB. a wide matrix", "answer": f"{letter}. "}
        for line, letter in zip(lines, "AABABB", strict=True)
    ]
    pairs = [{"document": f"{HOSTILE} {line}", "summary": f"{HOSTILE} {line[:20]}"} for line in lines]
    with store.writing(TEXTS_WHEEL.key("demo-texts"), {}) as into:
        for name in ("piqa.jsonl", "openbookqa.jsonl"):
            (into / name).write_text("\n".join(map(json.dumps, items)), encoding="utf-8")
        (into / "xsum.jsonl").write_text("\n".join(map(json.dumps, pairs)), encoding="utf-8")
    with store.writing(MODEL_WHEEL.key("demo-model"), {}) as into:
        (into / "config.json").write_text("{}", encoding="utf-8")
    model = save_toy_model(home / "toy-model", tokenizer)
    text = str(write_corpus(home / "corpus.txt"))

    def corpus(part: str, n_sequences: int) -> CorpusSpec:
        return CorpusSpec.parse(text, part=part, n_sequences=n_sequences, length=64)

    spec = AnalysisSpec(ModelSpec.parse(str(model)), corpus("calibration", 8))
    analysis = load_analysis(store, analyse(Home(home), spec, ignore_progress).fingerprint)
    articles = CorpusSpec.parse("demo:news", part="evaluation", n_sequences=4, length=120)
    plan = Plan(
        (EvaluationSpec(corpus("calibration", 4)),),
        ("demo_piqa", "demo_openbookqa"),
        None,
        SummarySpec(articles, template="{article} Short:", chat=False, max_new_tokens=6, n_resamples=200),
        CostSpec(12, 2, (1, 2), 2),
    )
    both = _maps(analysis)
    measure_all(Home(home), analysis.id, both, plan, ignore_progress, device="cpu")
    # A process of its own takes seconds to start.
    with_memory = replace(plan, memory=MemorySpec(n_tokens=12))
    measure_all(Home(home), analysis.id, both[:1], with_memory, ignore_progress, device="cpu")
