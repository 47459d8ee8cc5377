"""What a model consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.model.demo import Licence
    from engine.types import Inventory, Projection


_MOST_SHAPES = 3
"""Of a kind that are shown apart; layers of a narrowed model have nearly as many as there are layers."""


def shapes(inventory: Inventory) -> pd.DataFrame:
    """Return one row per kind and shape of projection, or per kind of many shapes, with its share of the parameters."""
    of_kind: dict[str, dict[tuple[int, int, int | None], list[Projection]]] = {}
    shared: dict[str, str] = {}
    for group in inventory.groups:
        for p in group.members:
            shared.setdefault(p.name, "+".join(m.kind for m in group.members) if len(group.members) > 1 else "alone")
            n_experts = None if p.experts is None else p.matrices
            of_kind.setdefault(p.kind, {}).setdefault((p.out_features, p.in_features, n_experts), []).append(p)
    rows: list[list[Projection]] = []
    for by_shape in of_kind.values():
        alike = list(by_shape.values())
        rows += alike if len(alike) <= _MOST_SHAPES else [[p for projections in alike for p in projections]]
    table = pd.DataFrame(
        {
            "kind": row[0].kind,
            f"shape (out {TIMES} in)": _shape(row),
            "shares its input": shared[row[0].name],
            "count": len(row),
            "parameters": sum(p.params for p in row),
        }
        for row in rows
    )
    table["share of the model"] = table["parameters"] / inventory.total_params
    return table


def _shape(row: list[Projection]) -> str:
    """Return the shape of some projections, from the least to the most where they differ."""
    each = f"{_span([p.out_features for p in row])} {TIMES} {_span([p.in_features for p in row])}"
    return each if row[0].experts is None else f"{each}, {_span([p.matrices for p in row])} experts"


def _span(sizes: list[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def skipped(inventory: Inventory) -> pd.DataFrame:
    """Return the weights that are never compressed, and why."""
    rows = [
        {
            "weight": s.name,
            "parameters": s.params,
            "share of the model": s.params / inventory.total_params,
            "reason": s.reason,
        }
        for s in inventory.skipped
    ]
    return pd.DataFrame(rows, columns=["weight", "parameters", "share of the model", "reason"])


def licences(entries: Iterable[Licence]) -> pd.DataFrame:
    """Return the licences of the demo's parts."""
    return pd.DataFrame([{"part": e.what, "licence": e.licence, "from": e.source} for e in entries])
