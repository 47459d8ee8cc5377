"""What an artifact says about itself: who made it, when, of what, and the hash of every member.

The manifest carries a hash of its own and is only accepted as the exact bytes that were written, so that a
single flipped bit in it is noticed as well.
"""

import json
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cache.errors import DamagedArtifactError, NewerArtifactError, StoreError
from cache.fingerprint import Json, as_json, canonical_json, fingerprint_bytes, fingerprint_file
from cache.keys import Key

MANIFEST_NAME = "manifest.json"
_FORMAT = 1


class Member(NamedTuple):
    """The size and SHA-256 of one file of an artifact."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The description of one artifact; members are in the order of their names.

    ``created`` is the ISO 8601 time of publishing, in UTC. ``about`` is for people, not part of the key.
    """

    key: Key
    created: str
    about: Mapping[str, Json]
    members: Mapping[str, Member]

    @property
    def size_bytes(self) -> int:
        """The size of all members together."""
        return sum(member.size_bytes for member in self.members.values())


def damage(key: Key, reason: str) -> DamagedArtifactError:
    """Build the error that names a damaged artifact and its remedy."""
    return DamagedArtifactError(
        f"Artifact {key} is damaged: {reason}. "
        "Remove it with `rankscope cache prune --damaged`; it is computed again when it is next asked for."
    )


def plain_about(about: Mapping[str, object]) -> dict[str, Json]:
    """Check and copy what people are told about an artifact, before the work of making it begins.

    Raises:
        TypeError: ``about`` is not a mapping of JSON values.
        ValueError: ``about`` holds NaN or an infinity.
    """
    if not isinstance(about, Mapping):
        raise TypeError(f"about is a {type(about).__name__}; expected a mapping of JSON values.")
    canonical_json(about)
    return {name: as_json(value, f"about.{name}") for name, value in about.items()}


def describe_folder(key: Key, about: Mapping[str, Json], folder: Path) -> Manifest:
    """Hash every file of a filled folder.

    Raises:
        StoreError: the folder holds something that cannot be a member: a sub-folder, a link, a file that is
            called like the manifest, or a name that is not Unicode.
    """
    members = {}
    for path in sorted(folder.iterdir()):
        name, status = path.name, path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise StoreError(
                f"{name!r} is not a regular file; artifact {key} holds files in its root only. Copy its content there."
            )
        if name == MANIFEST_NAME or not name.isprintable():
            raise StoreError(f"A member of artifact {key} cannot be called {name!r}. Choose another name.")
        members[name] = Member(status.st_size, fingerprint_file(path))
    return Manifest(key, datetime.now(UTC).isoformat(timespec="seconds"), about, members)


def encode_manifest(manifest: Manifest) -> bytes:
    """Write a manifest as canonical JSON that holds its own hash."""
    body = {
        "about": manifest.about,
        "created": manifest.created,
        "fingerprint": manifest.key.fingerprint,
        "format": _FORMAT,
        "members": {
            name: {"sha256": member.sha256, "size_bytes": member.size_bytes}
            for name, member in manifest.members.items()
        },
        "stage": manifest.key.stage,
    }
    return canonical_json(body | {"sha256": fingerprint_bytes(canonical_json(body))})


def decode_manifest(key: Key, encoded: bytes) -> Manifest:
    """Read back what :func:`encode_manifest` wrote.

    Raises:
        DamagedArtifactError: the bytes are not those that were written, or belong to another key.
        NewerArtifactError: a later version wrote them.
    """
    try:
        document: dict[str, Any] = json.loads(encoded)
        claimed = document.pop("sha256")
        actual = fingerprint_bytes(canonical_json(document))
        intact = claimed == actual and encoded == canonical_json(document | {"sha256": claimed})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise damage(key, "its manifest is not the one that was written")
    written = document["format"]
    if isinstance(written, int) and written > _FORMAT:
        raise NewerArtifactError(
            f"Artifact {key} comes from a newer RankScope (its manifest has format {written}, this one reads format "
            f"{_FORMAT}): update RankScope, or choose another home."
        )
    if written != _FORMAT:
        raise damage(key, f"its manifest has format {written}, this program reads format {_FORMAT}")
    if (document["stage"], document["fingerprint"]) != (key.stage, key.fingerprint):
        raise damage(key, f"its manifest is that of {document['stage']}/{document['fingerprint']}")
    members = {name: Member(entry["size_bytes"], entry["sha256"]) for name, entry in document["members"].items()}
    return Manifest(key, document["created"], document["about"], members)
