"""What a model consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from app.wording.labels import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.model.demo import Licence
    from engine.types import Inventory


def shapes(inventory: Inventory) -> pd.DataFrame:
    """Return one row per kind and shape of projection, with its share of the model's parameters."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for group in inventory.groups:
        for p in group.members:
            shape = f"{p.out_features:,} {TIMES} {p.in_features:,}"
            reads = "+".join(m.kind for m in group.members) if len(group.members) > 1 else "alone"
            new = {
                "kind": p.kind,
                f"shape (out {TIMES} in)": shape,
                "shares its input": reads,
                "count": 0,
                "parameters": 0,
            }
            row = rows.setdefault((p.kind, shape), new)
            row["count"] += 1
            row["parameters"] += p.params
    table = pd.DataFrame(list(rows.values()))
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
