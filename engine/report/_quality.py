"""Quality against size, on one text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from engine.prediction.instead import instead_of
from engine.report._quality_chart import OwnPoint, QualityPoint, quality_chart
from engine.results.texts import measured_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from engine.report._content import ReportContent
    from engine.results.rows import PredictedPerplexity, ResultRow


class QualitySection(NamedTuple):
    """The chart, on which text it is, its numbers, and which rounded model is to be preferred at the same size."""

    chart: Markup
    text: str
    points: Sequence[QualityPoint]
    calibrated_on: int
    instead: str

    @property
    def some_rounded(self) -> bool:
        """Whether a point is of rounded weights."""
        return any(point.rounded_to for point in self.points)


def quality_section(content: ReportContent) -> QualitySection:
    """Return the chart on the text most maps were measured on, this one among them if it was."""
    texts = measured_texts(content.others)
    columns = [text for text in texts if text.of(content.row) is not None] or [
        text for text in texts if content.forecast_text is not None and text.setting == content.forecast_text.setting
    ]
    prediction, dense_perplexity, ratio = content.forecast, 1.0, None
    points = [_point(content.dense, 1.0)]
    if columns:
        found = [(row, columns[0].of(row)) for row in content.others]
        points += [_point(row, one.ratio) for row, one in found if one is not None]
        own = columns[0].of(content.row)
        if own is not None:
            ratio, dense_perplexity = own.ratio, own.dense_perplexity
            prediction = own.prediction or prediction
    text = columns[0].title if columns else "text like the calibration text"
    megabytes = content.row.size.model_bytes["float16"] / 1e6
    own_point = OwnPoint(megabytes, ratio, *_over(prediction, dense_perplexity))
    instead = ""
    if columns and (preferred := instead_of(content.others, content.row, columns[0])):
        instead = preferred.words
    return QualitySection(quality_chart(points, own_point, text), text, points, prediction.calibrated_on, instead)


def _point(row: ResultRow, ratio: float) -> QualityPoint:
    return QualityPoint(row.method, row.model_bytes / 1e6, ratio, row.size.kept_fraction, row.rounded_to)


def _over(prediction: PredictedPerplexity, dense: float) -> tuple[float, float, float]:
    return prediction.perplexity / dense, prediction.low / dense, prediction.high / dense
