"""The operation ``passages``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.methods.editing import block_alone
from engine.operations._base import setting
from engine.operations._subjects import Device, Length, OnRankMap, OnText, Sequences, analysed_model
from engine.specs import Dtype, EvaluationSpec

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.results.outcomes import MeasuredBlock
    from engine.settings import Home


class Passages(OnRankMap, OnText):
    """Measure which held-out passages pay for one projection, cut alone as in a rank map."""

    name: ClassVar[str] = "passages"

    projection: str = Field(description="A projection that the map cuts; those that share its block go with it.")
    n_sequences: Sequences = Field(default=8, description="Held-out sequences.")
    length: Length = 256
    dtype: Dtype = setting(EvaluationSpec, "dtype", "Weights and arithmetic.")
    device: Device = "auto"

    def check(self) -> None:
        """Check that the text is a rank map that cuts the projection, and that there is such a text."""
        block_alone(self.parsed_map(), self.projection)
        self.corpus("evaluation")

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Measure which passages pay for {self.projection} of {analysed_model(store, self.analysis)}"

    def run(self, home: Home, report: Report) -> MeasuredBlock:
        """Measure; return what the text pays as a whole."""
        from engine.pipeline.evaluate import EvaluationSession
        from engine.progress import part_of

        alone = block_alone(self.parsed_map(), self.projection)
        spec = self.into(EvaluationSpec, corpus=self.corpus("evaluation"))
        session = EvaluationSession(home, self.analysis, spec, part_of(report, 0.0, 0.5), device=self.device)
        return session.measure_block(alone, part_of(report, 0.5, 1.0))
