"""What a report is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap
    from engine.results.passages import Passage
    from engine.results.rows import PredictedPerplexity, ResultRow
    from engine.results.texts import MeasuredText


@dataclass(frozen=True, slots=True)
class TextSample:
    """An article with what people and the two models made of it."""

    source: str
    article: str
    reference: str
    dense: str
    compressed: str


@dataclass(frozen=True, slots=True)
class ReportContent:
    """One rank map with everything that is known of it.

    Attributes:
        analysis: of the model.
        rank_map: what the report is about.
        row: its measurements as it is, without refinement; empty where nothing was measured.
        dense: the dense model's.
        others: the measured maps of the analysis, without refinement, this one included; rounded ones and the rounded
            dense model as well.
        refined: this map's with refined factors.
        forecast: what is predicted of its perplexity over the dense model's, which counts as 1.
        forecast_text: on which text; ``None`` where no map was measured on any.
        samples: of the summaries.
        passages: of the text the map was measured on first, the most damaged first.
        created: ISO 8601, UTC.
        version: of RankScope.
    """

    analysis: Analysis
    rank_map: RankMap
    row: ResultRow
    dense: ResultRow
    others: tuple[ResultRow, ...]
    refined: tuple[ResultRow, ...]
    forecast: PredictedPerplexity
    forecast_text: MeasuredText | None
    samples: tuple[TextSample, ...]
    passages: tuple[Passage, ...]
    created: str
    version: str

    @property
    def is_measured(self) -> bool:
        """Whether the map was compressed and measured as it is."""
        row = self.row
        return bool(row.perplexities or row.tasks or row.summaries or row.costs or row.memories)
