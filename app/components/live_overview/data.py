"""What the Overview's component is sent in every run; free of Streamlit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from app.charts.style import NEUTRAL, method_dash, method_style
from app.components.rank_board.curves import presets_json
from app.components.rank_board.data import CONSTANTS, content_of, devices_json, fixed_map, token_json
from engine.devices.known import THIS_MACHINE
from engine.devices.value import presets
from engine.formats import BYTES_PER_PARAM
from engine.machine import machine_id
from engine.methods.presets import PRESETS
from engine.prediction.runs import predictor_on
from engine.results.columns import measures
from engine.results.words import method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.devices.value import Device
    from engine.results.columns import Measure
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText

MOST_RATIO: Final = 4.0
"""Perplexities over dense beyond this are shown only on demand: nobody decides there."""

_DASHES: Final[Mapping[str, str]] = {
    "solid": "",
    "dash": "9 5",
    "dot": "2 4",
    "dashdot": "9 4 2 4",
    "longdash": "14 6",
    "longdashdot": "14 5 2 5",
}
"""Plotly's names of dashes in SVG's numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewInput:
    """What the browser needs to say what every size would do.

    Attributes:
        analysis: whose curves the browser has.
        curves: name that the browser knows them by.
        keep: the chosen kept fraction.
        revision: of the newest choice that Python has taken over.
        edited: the map that was edited by hand, shown instead of the methods' own at ``keep``.
        searched: from :func:`app.components.rank_board.curves.evaluated_json`.
        rows: everything measured, the dense model first.
        text: whose measurements are shown and calibrate the predictions; ``None``: no map was measured.
        devices: that times are predicted for, by name.
        text_name: for people.
        lines: method -> (kept fraction, predicted perplexity over dense, lowest, highest).
    """

    analysis: Analysis
    curves: str
    keep: float
    revision: int = 0
    edited: CostedMap | None = None
    searched: Sequence[dict[str, object]] = ()
    rows: Sequence[ResultRow] = ()
    text: MeasuredText | None = None
    devices: Mapping[str, Device] = field(default_factory=presets)
    text_name: str
    lines: Mapping[str, Sequence[tuple[float, float, float, float]]]

    def to_json(self) -> dict[str, object]:
        """Return the input as plain JSON values."""
        inventory, edited = self.analysis.inventory, self.edited
        measured = _measured(self.text, self.rows, self.analysis)
        rows = () if self.text is None else self.text.rows
        shown = [point[0] for points in self.lines.values() for point in points]
        shown += [row.size.kept_fraction for row in rows]
        return {
            "constants": CONSTANTS,
            "curves": self.curves,
            "projections": list(self.analysis.projections),
            "in_features": [p.in_features for p in inventory.projections],
            "compressible": inventory.compressible_params,
            "total": inventory.total_params,
            "bytes_per_param": BYTES_PER_PARAM["float16"],
            "devices": devices_json(self.devices),
            "own_device": THIS_MACHINE,
            "token": token_json(self.analysis),
            "methods": presets_json(PRESETS.values()),
            "evaluated": list(self.searched),
            "predictor": predictor_on(self.text).to_json(),
            "keep": self.keep,
            "revision": self.revision,
            "edited": None
            if edited is None
            else fixed_map(edited, f"{method_title(edited.method)}, edited by hand", self.analysis),
            "measured": measured,
            "text": self.text_name,
            "lines": [_style(method) | {"points": points} for method, points in self.lines.items()],
            "neutral": NEUTRAL,
            "most": MOST_RATIO,
            "range": [min([*shown, 0.5]), 1.0],
        }


def _style(method: str) -> dict[str, object]:
    title = method_title(method)
    color, symbol = method_style(title)
    return {"title": title, "color": color, "symbol": symbol, "dash": _DASHES[method_dash(title)]}


def _measured(text: MeasuredText | None, rows: Sequence[ResultRow], analysis: Analysis) -> list[dict[str, object]]:
    """Return the measured maps, each with the prediction that was made without it."""
    if text is None:
        return []
    every = measures(rows)
    found = []
    for row in text.rows:
        result = text.of(row)
        if row.rank_map is None or result is None or result.prediction is None:
            continue
        expected, dense = result.prediction, result.dense_perplexity
        found.append(
            {
                **{name: value for name, value in _style(row.method).items() if name != "dash"},
                "params": row.size.params,
                "content": content_of(row.rank_map, analysis),
                "kept": row.size.kept_fraction,
                "ratio": result.ratio,
                "expected": [value / dense for value in (expected.perplexity, expected.low, expected.high)],
                "tasks": _with_dense(row, rows[0], every, "zero_shot_mean["),
                "speed": _with_dense(row, rows[0], every, "decode_ratio["),
                "timed_here": timed_here(row),
            }
        )
    return found


def timed_here(row: ResultRow) -> dict[int, float]:
    """Return the time for a token over the dense model's by sequences at once, where this machine took it."""
    own = next((cost for cost in row.costs if cost.machine == machine_id()), None)
    return {} if own is None else {speed.batch_size: 1 / speed.decode_ratio.median for speed in own.speeds}


def _with_dense(row: ResultRow, dense: ResultRow, every: Sequence[Measure], prefix: str) -> dict[str, object] | None:
    """Return the first number of a kind that a row has, with the dense model's and where it comes from."""
    for measure in every:
        own = measure.of(row) if measure.name.startswith(prefix) else None
        if own is not None:
            other = measure.of(dense)
            about = measure.title.partition(": ")[2] or measure.title.partition(", ")[2]
            return {"value": own.value, "dense": None if other is None else other.value, "about": about}
    return None
