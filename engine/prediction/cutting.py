"""What a nat of cutting counts beside one of rounding, as measured models show; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.methods.byte_budget import dense_at
from engine.results.rows import DENSE
from engine.types import BITS, Metric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.prediction.power_law import Predictor
    from engine.results.rows import ResultRow

_USUAL_NATS: Final = 0.2
"""Where the weight of cutting is read off: the damage of sizes that people keep."""
_VISIBLE_NATS: Final = 0.02
"""Below this a measurement of a few thousand tokens says little."""


def cut_weight_of(predictor: Predictor, analysis: Analysis, rows: Sequence[ResultRow]) -> float:
    """Return what a nat of cutting counts beside one of rounding, as measured models show; 1 without any.

    Where the calibration text was short, cutting promises too little and rounding does not, so that a budget spent on
    raw nats would cut too much.

    Args:
        predictor: calibrated on measured maps.
        analysis: with predictions of rounding.
        rows: everything measured with it; the dense model with the fewest bits says what rounding does.
    """
    cutting = predictor.predict(_USUAL_NATS, Metric.LOSS).nll_increase / _USUAL_NATS
    rounded = [row for row in rows if row.method == DENSE and row.weight_bits < max(BITS) and row.perplexities]
    if not rounded:
        return cutting
    row = min(rounded, key=lambda row: row.weight_bits)
    predicted, measured = dense_at(analysis, row.weight_bits).nats, row.perplexities[0].increase
    return cutting if min(predicted, measured) < _VISIBLE_NATS else cutting * predicted / measured
