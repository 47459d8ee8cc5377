"""What people change by hand while they try things out: kept per analysis under the hash of its content.

A draft never changes, so two tabs cannot overwrite each other and a link to one shows the same ranks for ever.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from cache import canonical_json, fingerprint_bytes, write_in_one_step
from engine.errors import NamedMapError
from engine.rank_map.ceiling import USUAL_CONTEXT

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from engine.methods.editing import HeldRanks

MAX_DRAFTS = 200
"""Drafts kept per analysis; the oldest make room."""

_ID: Final = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class AskedTime:
    """A predicted time that is not to be exceeded.

    Attributes:
        ms: milliseconds in which every sequence gets a token.
        device: name of the device.
        dtype: number type of the weights.
        batch: sequences at once.
        context: tokens of each in the cache.
    """

    ms: float
    device: str
    dtype: str
    batch: int = 1
    context: int = USUAL_CONTEXT


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What every method is asked for.

    Attributes:
        keep: kept fraction of the compressible parameters; a ceiling.
        target: predicted perplexity that is not to be exceeded, with as few parameters as possible; it replaces
            ``keep``.
        held: ranks held by hand.
        time: that is not to be exceeded, with as little harm as possible; it replaces both.
    """

    keep: float
    target: float | None
    held: HeldRanks
    time: AskedTime | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What was changed by hand.

    Attributes:
        held: held ranks by projection.
        base: what the maps were made for when rebalancing was switched off; ``None``: it is on.
    """

    held: Mapping[str, int] = field(default_factory=dict)
    base: MapRequest | None = None


class Drafts:
    """The drafts of one analysis.

    Args:
        root: of all drafts.
        analysis_id: whose drafts these are.
    """

    def __init__(self, root: Path, analysis_id: str) -> None:
        self._folder = root / analysis_id

    def keep(self, draft: Draft) -> str:
        """Keep a draft; return its id, which equal drafts share.

        Raises:
            NamedMapError: the folder cannot be written.
        """
        content = canonical_json(_to_json(draft))
        draft_id = fingerprint_bytes(content)[:16]
        path = self._folder / f"{draft_id}.json"
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
        return draft_id

    def recall(self, draft_id: str, holdable: Collection[str]) -> Draft | None:
        """Return a draft with the ranks of what there is to hold; ``None`` if it is gone or damaged."""
        if not _ID.fullmatch(draft_id):
            return None
        try:
            content = (self._folder / f"{draft_id}.json").read_bytes()
        except OSError:
            return None
        if fingerprint_bytes(content)[:16] != draft_id:
            return None
        return _from_json(json.loads(content), holdable)

    def _make_room(self) -> None:
        kept = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in kept[MAX_DRAFTS:]:
            path.unlink(missing_ok=True)


def _to_json(draft: Draft) -> dict[str, Any]:
    """Return a draft as it is written; one without a base as 0.1.0 wrote all of them."""
    held = dict(draft.held)
    if draft.base is None:
        return held
    return {"held": held, "base": {**asdict(draft.base), "held": dict(draft.base.held)}}


def _from_json(document: dict[str, Any], holdable: Collection[str]) -> Draft:
    def known(held: dict[str, int]) -> dict[str, int]:
        return {name: rank for name, rank in held.items() if name in holdable}

    base = document.get("base")
    if not isinstance(base, dict):
        return Draft(known(document))
    asked = base.get("time")
    time = None if asked is None else AskedTime(**asked)
    request = MapRequest(base["keep"], base["target"], tuple(known(base["held"]).items()), time)
    return Draft(known(document["held"]), request)
