"""How much of the disk the home takes: by stage of the store, and by export; free of Streamlit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from app.services.home import store
from cache import StoreError
from engine.settings import home

if TYPE_CHECKING:
    from pathlib import Path


class Stored(NamedTuple):
    """Something that takes space."""

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


def exports() -> list[Stored]:
    """Return the exported folders, the largest first."""
    folder = home().exports
    found = [_sized(child) for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    return sorted(found, key=lambda stored: -stored.n_bytes)


def _sized(folder: Path) -> Stored:
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return Stored(folder.name, len(files), sum(path.stat().st_size for path in files))
