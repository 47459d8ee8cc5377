"""Ranks people hold by hand while they try things out: kept per analysis under the hash of their content.

A draft never changes, so two tabs cannot overwrite each other and a link to one shows the same ranks for ever.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from cache import canonical_json, fingerprint_bytes, write_in_one_step
from engine.errors import NamedMapError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

MAX_DRAFTS = 200
"""Drafts kept per analysis; the oldest make room."""

_ID: Final = re.compile(r"[0-9a-f]{16}")


class Drafts:
    """The drafts of one analysis.

    Args:
        root: of all drafts.
        analysis_id: whose drafts these are.
    """

    def __init__(self, root: Path, analysis_id: str) -> None:
        self._folder = root / analysis_id

    def keep(self, held: Mapping[str, int]) -> str:
        """Keep held ranks by projection; return the draft's id, which equal ranks share.

        Raises:
            NamedMapError: the folder cannot be written.
        """
        content = canonical_json(dict(held))
        draft = fingerprint_bytes(content)[:16]
        path = self._folder / f"{draft}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if path.is_file() and path.read_bytes() == content:
                path.touch()
            else:
                write_in_one_step(path, content)
                self._make_room()
        except OSError as error:
            raise NamedMapError(
                f"The held ranks cannot be kept in {self._folder} ({error.strerror}); check its permissions and the "
                "free disk space."
            ) from error
        return draft

    def recall(self, draft: str, projections: Collection[str]) -> dict[str, int] | None:
        """Return the ranks of a draft for the projections there are; ``None`` if it is gone or damaged."""
        if not _ID.fullmatch(draft):
            return None
        try:
            content = (self._folder / f"{draft}.json").read_bytes()
        except OSError:
            return None
        if fingerprint_bytes(content)[:16] != draft:
            return None
        held: dict[str, int] = json.loads(content)
        return {name: rank for name, rank in held.items() if name in projections}

    def _make_room(self) -> None:
        kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[MAX_DRAFTS:]:
            path.unlink(missing_ok=True)
