"""Passages of a measured text as a table."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

_MOST_TOKENS = 40
_MOST_LETTERS = 90

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.results.passages import Passage


def passages(found: Sequence[Passage]) -> pd.DataFrame:
    """Return one row per passage: its place, nats per token that a cut costs, the token that pays most, its start."""
    rows = [(one.place, one.damage, one.worst.piece.strip(), one.worst.increase, _start(one)) for one in found]
    return pd.DataFrame(rows, columns=["place", "damage", "worst", "worst_nats", "start"])


def _start(passage: Passage) -> str:
    text = "".join(token.piece for token in passage.tokens[:_MOST_TOKENS])
    return textwrap.shorten(text, _MOST_LETTERS, placeholder=" \u2026")
