"""Results as one table: a row per map, a column per number that any of them has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from engine.report import sources
from engine.results.columns import Role
from engine.results.rows import DENSE
from engine.results.words import method_title, percent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.rank_map.notes import RunNote
    from engine.results.columns import Measure
    from engine.results.rows import ResultRow

_ALWAYS = ("kept_fraction", "model_mb")
_SHOWN = ("zero_shot_mean[", "acc[", "rougeL[", "decode_ratio[", "decode_multiply_adds", "peak_memory_mb")
_OF_TEXT = ("perplexity[", "perplexity_ratio[")
_OF_ONE_TEXT = ("predicted_perplexity_ratio[", "divergence[", "agreement[")


def runs(
    rows: Sequence[ResultRow], measures: Sequence[Measure], notes: Mapping[str, RunNote] | None = None
) -> pd.DataFrame:
    """Return one row per map in the given order, with the columns of ``measures`` and their intervals."""
    given = notes or {}
    table = pd.DataFrame([_run(row, measures) for row in rows])
    for field in ("note", "name"):
        if any(getattr(one, field) for one in given.values()):
            texts = [getattr(given[row.id], field) if row.id in given else "" for row in rows]
            table.insert(2, field, texts)
    return table


def beside_baseline(table: pd.DataFrame, measures: Sequence[Measure], baseline: str) -> pd.DataFrame:
    """Return a table of runs with a column ``…_delta`` after every number that the baseline has, too.

    Args:
        table: from :func:`runs`.
        measures: its columns.
        baseline: id of the run that the others are compared with.
    """
    (own,) = table[table["id"] == baseline].to_dict("records")
    wider = table.copy()
    for measure in measures:
        value = own.get(measure.name)
        if value is not None and not pd.isna(value):
            place = list(wider.columns).index(measure.name) + 1
            wider.insert(place, f"{measure.name}_delta", table[measure.name] - value)
    return wider


def run_label(row: ResultRow, notes: Mapping[str, RunNote] | None = None) -> str:
    """Return what a measured map is called: by people, or else such as ``Water-filling, 80.0 % kept, 8 bits``."""
    given = "" if notes is None or row.id not in notes else notes[row.id].name
    if given:
        return given
    what = "Dense" if row.method == DENSE else f"{method_title(row.method)}, {percent(row.size.kept_fraction)} kept"
    return f"{what}, {row.rounded_to}" if row.rounded_to else what


def shown_measures(measures: Sequence[Measure], text: str | None, *, some_rounded: bool = False) -> list[Measure]:
    """Return the columns a table starts with: of one text in detail, or of all of them in short.

    Args:
        measures: every column there is.
        text: title of the text; ``None``: all of them.
        some_rounded: whether a row has weights of fewer bits than 16.
    """
    shown = [m for m in measures if m.name in _ALWAYS or (m.name == "weight_bits" and some_rounded)]
    of_text = (*_OF_TEXT, *_OF_ONE_TEXT) if text is not None else _OF_TEXT
    shown += [m for m in measures if m.name.startswith(of_text) and text in {None, m.text}]
    return shown + [m for m in measures if m.name.startswith(_SHOWN)]


def measures_of_role(rows: Sequence[ResultRow], measures: Sequence[Measure], role: Role) -> list[Measure]:
    """Return the columns of a role in which at least one compressed model has a number."""
    compressed = [row for row in rows if not row.is_dense]
    return [m for m in measures if m.role is role and any(m.of(row) is not None for row in compressed)]


def provenance(rows: Sequence[ResultRow]) -> pd.DataFrame:
    """Return one row per measurement with where it comes from."""
    sourced = [
        {
            "run": "dense model" if row.is_dense else run_label(row),
            **source._asdict(),
            "model": one.model_fingerprint[:12] + (f" @ {one.model_revision}" if one.model_revision else ""),
            "versions": ", ".join(f"{name} {version}" for name, version in one.versions.items()),
        }
        for row in rows
        for source, one in sources(row)
    ]
    return pd.DataFrame(sourced)


def differences(rows: Sequence[ResultRow], measures: Sequence[Measure]) -> pd.DataFrame:
    """Return one row per map and paired score: how much it differs from the dense model, with its interval."""
    compared: list[dict[str, object]] = []
    for measure in measures:
        for row in rows:
            figure = measure.of(row)
            if "_difference[" not in measure.name or figure is None or figure.low is None or figure.high is None:
                continue
            apart = figure.low > 0 or figure.high < 0
            compared.append(
                {
                    "score": measure.title,
                    "run": run_label(row),
                    "difference": figure.value,
                    "low": figure.low,
                    "high": figure.high,
                    "settled": ("better" if figure.value > 0 else "worse") if apart else "not significant",
                }
            )
    return pd.DataFrame(compared)


def _run(row: ResultRow, measures: Sequence[Measure]) -> dict[str, object]:
    cells: dict[str, object] = {"id": row.id, "method": method_title(row.method)}
    for measure in measures:
        figure = measure.of(row)
        for end in ("value", "low", "high", "stderr"):
            value = None if figure is None else getattr(figure, end)
            if end == "value" or value is not None:
                cells[measure.name if end == "value" else f"{measure.name}_{end}"] = value
    return cells
