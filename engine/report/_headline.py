"""What the report says first: one sentence and a few tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from engine.results.columns import Measure, Role, measures
from engine.results.texts import measured_texts
from engine.results.words import TIMES, megabytes, method_title, percent, ratio

if TYPE_CHECKING:
    from engine.report._content import ReportContent
    from engine.results.rows import PerplexityResult


_WITHOUT_ROUNDING: Final = " What rounding its blocks harms comes on top, because it is not predicted yet."


class Tile(NamedTuple):
    """A number, what it is of, and whether it was counted, predicted or measured."""

    label: str
    value: str
    note: str
    how: str


def headline(content: ReportContent) -> str:
    """Return what was done and what it costs, in one sentence per thought."""
    size, dense = content.row.size, content.dense.size
    saved = 1 - size.model_bytes["float16"] / dense.model_bytes["float16"]
    done = (
        f"{method_title(content.rank_map.method)} leaves {content.analysis.about['model']} with "
        f"{percent(size.kept_fraction, 0)} of its compressible parameters, which makes the whole model "
        f"{percent(saved, 0)} smaller. "
    )
    if content.row.perplexities:
        found = by_use(content)[0]
        return done + (
            f"On {found.text_title} its perplexity was measured as {ratio(found.ratio)} that of the dense model. "
            "No weight was trained."
        )
    forecast = content.forecast
    on = "" if content.forecast_text is None else f" on {content.forecast_text.name}"
    leaves_out = content.rank_map.is_rounded and content.analysis.rounding is None
    return done + (
        f"It has not been run yet: its perplexity is predicted to be {ratio(forecast.perplexity)} that of the dense "
        f"model{on}, 90 % interval {ratio(forecast.low)} to {ratio(forecast.high)}."
        f"{_WITHOUT_ROUNDING if leaves_out else ''}"
    )


def tiles(content: ReportContent) -> list[Tile]:
    """Return size and quality, and what running costs where that was measured."""
    row, dense = content.row, content.dense
    n_bytes, of_bytes = row.size.model_bytes["float16"], dense.size.model_bytes["float16"]
    found = [
        Tile("Size at float16", megabytes(n_bytes), f"of {megabytes(of_bytes)}, whole model", "counted"),
        Tile(
            "Parameters kept",
            percent(row.size.kept_fraction),
            f"of the compressible ones; {percent(row.size.model_params / dense.size.model_params, 0)} of all",
            "counted",
        ),
    ]
    if not row.perplexities:
        forecast = content.forecast
        on = "" if content.forecast_text is None else f" on {content.forecast_text.name}"
        between = f"the dense model's{on}; {ratio(forecast.low)} to {ratio(forecast.high)}"
        found.append(Tile("Perplexity", ratio(forecast.perplexity), between, "predicted"))
    for one in _once_per_text(content)[:2]:
        found.append(Tile("Perplexity", ratio(one.ratio), f"the dense model's on {one.text_title}", "measured"))
    return found + [_measured(content, measure) for measure in _main(measures([row]), content)]


def _main(every: tuple[Measure, ...], content: ReportContent) -> list[Measure]:
    """Return the first mean of tasks, ROUGE-L, speed and memory this map has."""
    starts = ("zero_shot_mean[", "rougeL[", "decode_ratio[", "peak_memory_mb")
    found = []
    for start in starts:
        fitting = [m for m in every if m.name.startswith(start) and m.role is not Role.DETAIL and m.of(content.row)]
        found += fitting[:1]
    return found


def _measured(content: ReportContent, measure: Measure) -> Tile:
    own, dense = measure.of(content.row), measure.of(content.dense)
    assert own is not None
    beside = "" if dense is None else f"dense: {written(measure, dense.value)}"
    if measure.name.startswith("decode_ratio"):
        beside = f"tokens per second, of the dense model's, {measure.title.rpartition(', ')[2]}"
    return Tile(name_of(measure).partition(":")[0].partition(" ÷")[0], written(measure, own.value), beside, "measured")


def by_use(content: ReportContent) -> list[PerplexityResult]:
    """Return this map's perplexities, those on the texts of most maps first: they compare with most."""
    found = (text.of(content.row) for text in measured_texts(content.others))
    return [one for one in found if one is not None]


def _once_per_text(content: ReportContent) -> list[PerplexityResult]:
    found: dict[str, PerplexityResult] = {}
    for one in by_use(content):
        found.setdefault(one.text, one)
    return list(found.values())


def name_of(measure: Measure) -> str:
    """Return a column's title without the unit that its numbers carry here."""
    return measure.title.removesuffix(", MB")


def written(measure: Measure, value: float) -> str:
    """Return a number as its column writes it."""
    return {
        "ratio": f"{value:.2f} {TIMES}",
        "percent": percent(value),
        "mb": megabytes(value * 1e6),
        "count": f"{value:,.0f}",
        "number": f"{value:,.2f}",
    }[measure.kind]
