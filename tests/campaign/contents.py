"""What stores and folders hold, so that two can be compared."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from tests.campaign.mutating import places

if TYPE_CHECKING:
    from pathlib import Path

_TIME = re.compile(r"'(seconds|\w+_s)'")


def contents(*folders: Path) -> dict[str, object]:
    """Return every value of every JSON file below folders, and the hash of every other file, by where they are.

    A file among the folders counts as one below them. Manifests are left out: they name the time.
    """
    found: dict[str, object] = {}
    for folder in folders:
        for path in [folder, *sorted(folder.rglob("*"))]:
            name = str(path.relative_to(folder.parent))
            if path.suffix == ".json" and path.name != "manifest.json":
                found |= {f"{name} {place}": value for place, value in _leaves(json.loads(path.read_bytes()))}
            elif path.is_file() and path.name != "manifest.json":
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def without_what_varies(first: dict[str, object], second: dict[str, object]) -> dict[str, object]:
    """Return what two runs agree in, without times, which may agree by chance."""
    return {name: value for name, value in first.items() if second.get(name) == value and not _TIME.search(name)}


def _leaves(document: object) -> list[tuple[object, object]]:
    if not isinstance(document, (dict, list)):
        return [("", document)]
    found = []
    for place in places(document):
        value: object = document
        for step in place:
            value = value[step]  # type: ignore[index]
        if not isinstance(value, (dict, list)):
            found.append((place, value))
    return found
