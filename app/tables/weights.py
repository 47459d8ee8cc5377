"""What a model consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.model.demo import Licence
    from engine.types import Inventory


def shapes(inventory: Inventory) -> pd.DataFrame:
    """Return one row per kind and shape of projection, with its share of the model's parameters."""
    params: dict[tuple[str, str], list[int]] = {}
    shared: dict[tuple[str, str], str] = {}
    for group in inventory.groups:
        for p in group.members:
            each = f"{p.out_features:,} {TIMES} {p.in_features:,}"
            shape = p.kind, each if p.experts is None else f"{each}, {p.matrices:,} experts"
            shared.setdefault(shape, "+".join(m.kind for m in group.members) if len(group.members) > 1 else "alone")
            params.setdefault(shape, []).append(p.params)
    table = pd.DataFrame(
        {
            "kind": kind,
            f"shape (out {TIMES} in)": shape,
            "shares its input": shared[kind, shape],
            "count": len(of_shape),
            "parameters": sum(of_shape),
        }
        for (kind, shape), of_shape in params.items()
    )
    table["share of the model"] = table["parameters"] / inventory.total_params
    return table


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
