"""How much of the disk the store takes, by stage; free of Streamlit."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from app.services.home import store
from cache import StoreError


class Stored(NamedTuple):
    """What a stage takes."""

    what: str
    n_items: int
    n_bytes: int


def stored_by_stage() -> list[Stored]:
    """Return what the store holds, the largest first; what cannot be read is left out."""
    kept = store()
    n_bytes: Counter[str] = Counter()
    n_items: Counter[str] = Counter()
    for key in kept.keys(None):
        try:
            n_bytes[key.stage] += kept.read(key).manifest.size_bytes
        except StoreError:
            continue
        n_items[key.stage] += 1
    return [Stored(stage, n_items[stage], size) for stage, size in n_bytes.most_common()]
