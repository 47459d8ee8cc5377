"""The operation ``predict-rounding``."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from engine.operations._base import Operation
from engine.operations._subjects import Analysed, analysed_model

if TYPE_CHECKING:
    from cache import Store
    from engine.progress import Report
    from engine.settings import Home


class PredictRounding(Operation):
    """Predict what rounding every block to 8 and 4 bits adds to the loss; once for an analysis."""

    name: ClassVar[str] = "predict-rounding"

    analysis: Analysed

    def title(self, store: Store) -> str:
        """Return what a person calls the job."""
        return f"Predict what rounding does to {analysed_model(store, self.analysis)}"

    def run(self, home: Home, report: Report) -> dict[str, str]:
        """Predict; return where it is stored."""
        from engine.pipeline.rounding import predict_rounding

        return {"rounding": predict_rounding(home, self.analysis, report).fingerprint}
