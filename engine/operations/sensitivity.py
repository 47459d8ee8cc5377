"""The operation ``sensitivity``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from engine.operations._subjects import Analysed, Device, KeptFraction, Length, OnText, Sequences, analysed_model
from engine.specs import Dtype

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.results.outcomes import MeasuredSensitivity
    from engine.settings import Home


class Sensitivity(OnText):
    """Measure the loss increase of every projection that is cut alone."""

    name: ClassVar[str] = "sensitivity"

    analysis: Analysed
    kept_fraction: KeptFraction = Field(
        default=0.5, description="Kept fraction of each projection, in low-rank format."
    )
    n_sequences: Sequences = Field(default=4, description="Sequences the loss is measured on.")
    length: Length = 256
    compute_dtype: Dtype = Field(default="float32", description="Autocast type of the passes.")
    device: Device = "auto"

    def check(self) -> None:
        """Check that there is such a text."""
        self.corpus("calibration")

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Measure the sensitivity of {analysed_model(store, self.analysis)}"

    def run(self, home: Home, report: Report) -> MeasuredSensitivity:
        """Measure; return the increases."""
        from engine.pipeline.sensitivity import measure_each_projection

        return measure_each_projection(
            home,
            self.analysis,
            self.corpus("calibration"),
            self.kept_fraction,
            report,
            compute_dtype=self.compute_dtype,
            device=self.device,
        )
