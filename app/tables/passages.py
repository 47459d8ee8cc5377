"""Passages of a measured text as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.passages import Passage


def passages(found: Sequence[Passage]) -> pd.DataFrame:
    """Return one row per passage: its place, nats per token that a cut costs, and the token that pays most."""
    rows = [(one.place, one.damage, one.worst.piece.strip(), one.worst.increase) for one in found]
    return pd.DataFrame(rows, columns=["place", "damage", "worst", "worst_nats"])
