"""What a path that is being typed can go on with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from engine.errors import InvalidSpecError
from engine.paths import given_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_MOST: Final = 12
"""Continuations that are offered."""


def continuations(typed: str, suffixes: Sequence[str]) -> list[str]:
    """Return longer paths that begin like a typed one; none where it leads to a model or a file already.

    Args:
        typed: a path from the root or from ``~``.
        suffixes: of files that are wanted; folders are always offered, hidden names once their dot is typed.
    """
    if not typed.startswith(("/", "~")):
        return []
    before, _, begun = typed.rpartition("/")
    try:
        path, folder = given_path(typed), given_path(f"{before}/")
        if path.is_file() or (path / "config.json").is_file():
            return []
        if path.is_dir() and begun not in {"", ".", ".."}:
            before, begun, folder = typed, "", path
        names = sorted(_wanted(folder, suffixes), key=str.casefold)
    except (InvalidSpecError, OSError):
        return []
    fitting = [name for name in names if name.casefold().startswith(begun.casefold())]
    return [f"{before}/{name}" for name in fitting if begun.startswith(".") or not name.startswith(".")][:_MOST]


def _wanted(folder: Path, suffixes: Sequence[str]) -> list[str]:
    with os.scandir(folder) as entries:
        return [
            f"{entry.name}/" if entry.is_dir() else entry.name
            for entry in entries
            if _is_text(entry.name) and (entry.is_dir() or entry.name.endswith(tuple(suffixes)))
        ]


def _is_text(name: str) -> bool:
    """Whether a name can be shown and typed; those of files are bytes, and some are not UTF-8."""
    return name == name.encode(errors="ignore").decode()
