"""Deleting an analysis with what only it uses; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache import Key, StoreError, read_stage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from cache import Artifact, Store


def used_alone(store: Store, analysis_ids: Collection[str]) -> list[Key]:
    """Return the analyses and the factors that no other analysis uses, in the order in which they can be deleted.

    Statistics, measurements, searches and refinements are not among them: the same analysis, made again, has the same
    id, takes its factors from the statistics, and shows what was measured with it.

    Args:
        store: holds them.
        analysis_ids: of analyses that go together.
    """
    readable, unread = read_stage(store, "analysis", lambda artifact: (artifact.key.fingerprint, factors_of(artifact)))
    own: set[str] = set().union(*(factors for known, factors in readable if known in analysis_ids))
    others: set[str] = set().union(*(factors for known, factors in readable if known not in analysis_ids))
    analyses = [Key("analysis", known) for known in analysis_ids]
    if unread:
        return analyses  # which factors those use is not known
    factors = [Key("factors", fingerprint) for fingerprint in sorted(own - others)]
    return analyses + [key for key in factors if key in store]


def stored_bytes(store: Store, keys: Sequence[Key]) -> int:
    """Return how much space artifacts take; one that cannot be read counts as nothing."""
    total = 0
    for key in keys:
        try:
            total += store.read(key).manifest.size_bytes
        except StoreError:
            continue
    return total


def factors_of(artifact: Artifact) -> set[str]:
    """Return the fingerprints of the factors that an analysis names."""
    factors: Mapping[str, Sequence[str]] = artifact.json("analysis.json")["factors"]
    return {fingerprint for of_metric in factors.values() for fingerprint in of_metric}
