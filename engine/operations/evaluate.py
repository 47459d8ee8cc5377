"""The operation ``evaluate``, and its levels: presets of how thoroughly rank maps are measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import Field

from engine.errors import InvalidSpecError
from engine.evaluation.demo_tasks import DEMO_TASKS
from engine.evaluation.specs import CostSpec, MemorySpec, SummarySpec
from engine.operations._base import setting
from engine.operations._subjects import (
    MOST_SEQUENCES,
    Analysed,
    Device,
    OnTexts,
    OtherText,
    Seed,
    Sequences,
    Source,
    named_maps,
)
from engine.progress import part_of
from engine.rank_map.document import parse_rank_map
from engine.specs import AutoDtype, CorpusSpec, EvaluationSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cache import Store
    from engine.pipeline.measure.plan import Plan
    from engine.progress import Report
    from engine.rank_map.document import RankMap
    from engine.results.outcomes import Evaluation
    from engine.settings import Home

LEVELS: Final[Mapping[str, Mapping[str, object]]] = {
    "perplexity": {},
    "quick": {
        "tasks": ("demo_piqa", "demo_openbookqa"),
        "limit": 100,
        "prompt_tokens": 32,
        "new_tokens": 6,
        "speed_batches": (1, 4),
        "repetitions": 3,
    },
    "full": {
        "other_text": "demo:news",
        "tasks": tuple(DEMO_TASKS),
        "articles": 50,
        "repetitions": 5,
        "memory": True,
    },
}
"""Level -> the defaults it changes: one text alone; tasks and speed too; everything.

None changes the text, its amount or the type, so that perplexities of all levels compare.
"""


class Evaluate(OnTexts):
    """Measure rank maps beside the dense model: perplexity, tasks, summaries, speed and memory."""

    name: ClassVar[str] = "evaluate"
    preset_by: ClassVar[str] = "level"
    preset_values: ClassVar[Mapping[str, Mapping[str, object]]] = LEVELS

    analysis: Analysed
    rank_maps: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="Rank maps, each as JSON.")
    level: Literal["perplexity", "quick", "full"] = Field(
        default="perplexity",
        description="quick: two tasks and the speed as well; full: two texts, tasks, summaries, speed and memory.",
    )
    n_sequences: Sequences = Field(default=20, description="Held-out sequences.")
    other_text: OtherText = ""
    dtype: AutoDtype = setting(
        EvaluationSpec, "dtype", "Weights and arithmetic; auto: bfloat16, or float32 where the machine is faster in it."
    )
    bits: Literal["16", "8", "4"] = Field(
        default="16",
        description="Bits of the projections' weights: 8 (a scale per row) or 4 (a scale per 32 weights), rounded to "
        "the nearest; the dense model is measured so as well. Not for speed and memory.",
    )
    batch_size: int = setting(EvaluationSpec, "batch_size", "Sequences per pass.", ge=1, le=MOST_SEQUENCES)
    tasks: tuple[str, ...] = Field(
        default=(), description="lm-eval's tasks or demo_piqa, demo_openbookqa, …; '' for none."
    )
    limit: int | None = Field(default=None, ge=0, description="Items per task; 0: all.")
    articles: int = Field(default=0, ge=0, description="Articles to summarise; 0: none.")
    article_text: Source = Field(default="demo:news", description="demo:news, a .jsonl file or a data set.")
    article_field: str = Field(default="document", description="Column of the articles.")
    summary_field: str = setting(SummarySpec, "reference_field", "Column of the written summaries.")
    article_length: int = Field(default=300, ge=8, description="Tokens an article is cut to.")
    template: str = setting(SummarySpec, "template", "Prompt, with {article} where the article goes.")
    max_new_tokens: int = setting(SummarySpec, "max_new_tokens", "Longest summary in tokens.", ge=1)
    min_new_tokens: int = setting(SummarySpec, "min_new_tokens", "Shortest summary in tokens.", ge=0)
    repetitions: int = Field(default=0, ge=0, description="Of every speed; 0: no speed.")
    prompt_tokens: int = setting(CostSpec, "prompt_tokens", "Tokens read before speed and memory are taken.", ge=1)
    new_tokens: int = setting(CostSpec, "new_tokens", "Tokens generated for the speed.", ge=1)
    speed_batches: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = setting(
        CostSpec, "batch_sizes", "Sequences at once, a speed for each."
    )
    memory: bool = Field(default=False, description="Peak memory of a process that only loads and runs the model.")
    seed: Seed = setting(CostSpec, "seed", "Of random prompts and of bootstrap intervals.")
    device: Device = "auto"

    @classmethod
    def presets(cls, values: Mapping[str, object]) -> Mapping[str, object]:
        """Return the defaults that the level changes; speed and memory of rounded weights are not measured."""
        running = () if values.get("bits", "16") == "16" else ("repetitions", "memory")
        return {name: value for name, value in super().presets(values).items() if name not in running}

    def parsed_maps(self) -> list[RankMap]:
        """Return the rank maps.

        Raises:
            InvalidRankMapError: a text is none.
        """
        return [parse_rank_map(text.encode()) for text in self.rank_maps]

    def texts(self) -> tuple[EvaluationSpec, ...]:
        """Return the texts that perplexity is measured on.

        Raises:
            InvalidSpecError: there is no such text.
        """
        return tuple(self.into(EvaluationSpec, corpus=corpus) for corpus in self.corpora())

    def summaries(self) -> SummarySpec | None:
        """Return how summaries are taken, if any are.

        Raises:
            InvalidSpecError: there are no such articles, or the template has no place for one.
        """
        if not self.articles:
            return None
        articles = CorpusSpec.parse(
            self.article_text,
            part="evaluation",
            n_sequences=self.articles,
            length=self.article_length,
            text_field=self.article_field,
        )
        return SummarySpec(
            articles,
            self.summary_field,
            self.template,
            max_new_tokens=self.max_new_tokens,
            min_new_tokens=self.min_new_tokens,
            dtype=self.dtype,
            seed=self.seed,
        )

    def check(self) -> None:
        """Check that texts are rank maps, that there are such texts, and that arguments fit each other."""
        has_bits = any(rank_map.is_rounded for rank_map in self.parsed_maps())
        self.texts()
        self.summaries()
        if has_bits and self.bits != "16":
            raise InvalidSpecError(
                f"A rank map with bits of its own was asked for at {self.bits} bits; leave the bits out to measure it "
                "as it says."
            )
        rounded_to = "bits per block" if has_bits else f"{self.bits} bits"
        if (has_bits or self.bits != "16") and (self.repetitions or self.memory):
            raise InvalidSpecError(
                f"Speed or memory at {rounded_to} was asked for, but rounded weights run here in the type of the "
                "model, which shows their quality and not their speed; ask for the quality alone, or for 16 bits."
            )

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        rounded = "" if self.bits == "16" else f" at {self.bits} bits"
        return f"Measure {named_maps(store, self.analysis, self.parsed_maps())}{rounded}"

    def plan(self) -> Plan:
        """Return what is measured.

        Raises:
            InvalidSpecError: arguments do not fit each other, or there is no such text.
        """
        from engine.pipeline.measure.plan import Plan

        return Plan(
            self.texts(),
            self.tasks,
            self.limit or None,
            self.summaries(),
            self.into(CostSpec, batch_sizes=self.speed_batches) if self.repetitions else None,
            MemorySpec(self.dtype, self.prompt_tokens) if self.memory else None,
            self.dtype,
            int(self.bits),
        )

    def run(self, home: Home, report: Report) -> Evaluation:
        """Measure; return a row for the dense model, each map, and the rounded dense model that competes with it."""
        from engine.model.module import pass_type
        from engine.pipeline.measure.plan import Plan, is_measured, measure_all
        from engine.results.outcomes import Evaluation

        maps, asked = self.parsed_maps(), self
        if self.dtype == "auto":
            # What was measured in bfloat16 is not measured again because this machine would have chosen otherwise.
            asked = self.changed(dtype="bfloat16")
            if not is_measured(home, self.analysis, maps, asked.plan()):
                asked = self.changed(dtype=pass_type(self.device))
        plan, beside = asked.plan(), self._bits_beside(home, maps)
        share = 1 / (1 + len(beside))
        dense, *rows = measure_all(home, self.analysis, maps, plan, part_of(report, 0.0, share), device=self.device)
        for done, bits in enumerate(beside, 1):
            alone = Plan(plan.texts, dtype=plan.dtype, weight_bits=bits)
            told = part_of(report, done * share, (done + 1) * share)
            rows += measure_all(home, self.analysis, (), alone, told, device=self.device)[1:]
        return Evaluation(self.analysis, self.level, dense, tuple(rows))

    def _bits_beside(self, home: Home, maps: Sequence[RankMap]) -> list[int]:
        """Return at which bits the dense model competes with maps that have bits of their own."""
        from engine.methods.byte_budget import single_bits
        from engine.pipeline.reading.analyses import load_analysis

        inventory = load_analysis(home.store, self.analysis).inventory
        found = {single_bits(rank_map, inventory) for rank_map in maps}
        return sorted(bits for bits in found if bits is not None)
