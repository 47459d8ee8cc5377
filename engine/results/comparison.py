"""Every method at every budget, measured on the same texts: one table, named as its JSON in ``docs/cli.md``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from engine.allocation import SearchKind
from engine.results.rows import text_title


@dataclass(frozen=True, slots=True)
class ComparedMap:
    """What one method did at one budget.

    Attributes:
        predicted_nats: half the discarded energy of the loss metric, weighed by depth; the rest is made of it.
        prediction_calibrated_on: number of other measured maps; 0: the interval is wide.
        nll_increase: of the loss over the dense model's, nats per token.
        multiply_adds_per_token: of the compressible projections.
        search_s: seconds until the method answered.
        evaluation: fingerprint of the stored measurement.
        other_perplexity: on the other text; ``None`` where there is none, as in the next two.
        search: what the search behind the map judged by; ``None``: the method does not search.
    """

    method: str
    target_kept_fraction: float
    kept_fraction: float
    params: int
    perplexity: float
    dense_perplexity: float
    divergence: float
    agreement: float
    predicted_nats: float
    predicted_perplexity: float
    predicted_perplexity_low: float
    predicted_perplexity_high: float
    prediction_calibrated_on: int
    nll_increase: float
    predicted_nll_increase: float
    model_mb_float16: float
    multiply_adds_per_token: int
    search_s: float
    evaluation: str
    other_perplexity: float | None = None
    other_dense_perplexity: float | None = None
    other_evaluation: str | None = None
    search: SearchKind | None = None

    @property
    def ratio(self) -> float:
        """Perplexity over the dense model's."""
        return self.perplexity / self.dense_perplexity

    @property
    def other_ratio(self) -> float | None:
        """The same on the other text."""
        if self.other_perplexity is None or self.other_dense_perplexity is None:
            return None
        return self.other_perplexity / self.other_dense_perplexity


@dataclass(frozen=True, slots=True)
class MissingMap:
    """A budget that a method cannot meet, and why."""

    method: str
    target_kept_fraction: float
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of methods.

    Attributes:
        n_tokens: scored of the text.
        other_text: ``None``: there is none.
        analysis_s: seconds of the analysis by part.
        prediction_median_relative_error: of the increases of the loss; ``None`` where none is worth predicting.
        id: fingerprint of the stored table.
        calibration_text: the text is that of the analysis, where a compressed model does better than on new text.
        other_calibration_text: the same of the other text.
    """

    analysis: str
    model: str
    text: str
    n_tokens: int
    other_text: str | None
    dtype: str
    analysis_s: Mapping[str, float]
    rows: tuple[ComparedMap, ...]
    impossible: tuple[MissingMap, ...]
    prediction_median_relative_error: float | None
    id: str
    calibration_text: bool = False
    other_calibration_text: bool = False

    @property
    def texts(self) -> str:
        """Both texts for people, who have to know where one is not held out."""
        first = text_title(self.text, calibration_text=self.calibration_text)
        if self.other_text is None:
            return first
        return f"{first}; other text: {text_title(self.other_text, calibration_text=self.other_calibration_text)}"
