"""The operation ``compare``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from engine.methods.presets import PRESETS, get_preset
from engine.operations._base import setting
from engine.operations._subjects import (
    MOST_SEQUENCES,
    Analysed,
    Device,
    KeptFraction,
    OnTexts,
    OtherText,
    Seed,
    Sequences,
    analysed_model,
)
from engine.specs import Dtype, EvaluationSpec

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.results.comparison import Comparison
    from engine.settings import Home


class Compare(OnTexts):
    """Measure every method at every budget, in and out of domain, and keep the table."""

    name: ClassVar[str] = "compare"

    analysis: Analysed
    kept_fractions: Annotated[tuple[KeptFraction, ...], Field(min_length=1)] = Field(
        default=(0.9, 0.8, 0.7, 0.6, 0.5), description="Kept fractions."
    )
    methods: Annotated[tuple[str, ...], Field(min_length=1)] = Field(default=tuple(PRESETS), description="Methods.")
    n_sequences: Sequences = Field(default=20, description="Held-out sequences.")
    other_text: OtherText = "demo:news"
    dtype: Dtype = setting(EvaluationSpec, "dtype", "Weights and arithmetic.")
    batch_size: int = setting(EvaluationSpec, "batch_size", "Sequences per pass.", ge=1, le=MOST_SEQUENCES)
    search_trials: int = Field(
        default=40, ge=0, description="Maps that Bolaco measures before it answers; 0: it answers by predictions."
    )
    seed: Seed = Field(default=0, description="Of the search.")
    device: Device = "auto"

    def check(self) -> None:
        """Check that there are such methods and texts."""
        for method in self.methods:
            get_preset(method)
        self.corpora()

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Compare methods on {analysed_model(store, self.analysis)}"

    def run(self, home: Home, report: Report) -> Comparison:
        """Compare; return the table."""
        from engine.pipeline.compare import ComparisonSpec, compare

        text, *others = (self.into(EvaluationSpec, corpus=corpus) for corpus in self.corpora())
        return compare(
            home,
            self.analysis,
            self.into(ComparisonSpec, text=text, other_text=next(iter(others), None)),
            report,
            device=self.device,
        )
