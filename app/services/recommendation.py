"""The smallest map that is still fine: the one answer for people who want no chart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.components.rank_board.data import LOWEST_KEEP
from app.costed_maps import CostedMap
from app.services import allocation, analyses, measurements
from engine.errors import RankScopeError
from engine.methods.presets import PRESETS
from engine.pipeline.reading.results import measured_on
from engine.prediction.runs import predictor_on
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.results.texts import MeasuredText

FINE_RATIO: Final = 1.1
"""Perplexity over dense up to which a compressed model counts as fine."""


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A map, and its perplexity over dense.

    Attributes:
        is_measured: exactly this map was measured; else the ratio is predicted.
    """

    costed: CostedMap
    ratio: float
    is_measured: bool


def smallest_fine_map(analysis_id: str, text: MeasuredText | None) -> Recommendation | None:
    """Return the smallest map of any method whose perplexity is at most :data:`FINE_RATIO` times the dense one's.

    What was measured counts as measured, everything else as predicted; of equally small maps the measured one is taken.
    Nothing smaller than the pages show is predicted.
    """
    fine = [*_measured(analysis_id, text), *_predicted(analysis_id, text)]
    return min(fine, key=lambda one: (one.costed.cost.params, not one.is_measured), default=None)


def _measured(analysis_id: str, text: MeasuredText | None) -> Iterator[Recommendation]:
    for row in () if text is None else text.rows:
        result = text.of(row) if text is not None else None
        if result is not None and result.ratio <= FINE_RATIO:
            yield Recommendation(measurements.costed_map(analysis_id, row), result.ratio, is_measured=True)


def _predicted(analysis_id: str, text: MeasuredText | None) -> Iterator[Recommendation]:
    predictor = predictor_on(text)
    smallest = Budget.of_kept_fraction(LOWEST_KEEP, analyses.analysis(analysis_id).inventory.compressible_params)
    for method in PRESETS:
        try:
            costed = allocation.map_to_ratio(analysis_id, method, FINE_RATIO, text, ())
            if costed.cost.params < smallest.params:
                costed = allocation.method_map(analysis_id, method, smallest.params)
        except RankScopeError:
            continue
        if text is None or measured_on(text, costed.rank_map) is None:
            ratio, *_ = predictor.predict(costed.cost.nats, costed.rank_map.metric).perplexities()
            yield Recommendation(costed, ratio, is_measured=False)
