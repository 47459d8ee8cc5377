"""Artifacts as a later version of RankScope would have written them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from cache import canonical_json, fingerprint_bytes

if TYPE_CHECKING:
    from pathlib import Path


def written_by_a_later_version(artifact: Path) -> None:
    path = artifact / "manifest.json"
    document = {**json.loads(path.read_bytes()), "format": 2}
    del document["sha256"]
    path.write_bytes(canonical_json(document | {"sha256": fingerprint_bytes(canonical_json(document))}))
