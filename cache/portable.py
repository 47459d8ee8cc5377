"""Artifacts in one file, to carry from one store to another.

A tar archive, not compressed (arrays do not shrink): first one file with the manifests of all artifacts, then their
members in the same order. So a reader knows before the first member what is to come, how large it is and which hash it
has; anything else is refused, and nothing is published before all of it has been checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from datetime import datetime
from typing import IO, TYPE_CHECKING, Final

from cache.artifact import Artifact
from cache.errors import NotPortableError, StoreError
from cache.files import sync
from cache.fingerprint import canonical_json
from cache.keys import Key
from cache.manifest import MANIFEST_NAME, Manifest, Member, decode_manifest, encode_manifest, plain_about
from cache.partials import new_partial_path, remove_abandoned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cache.directory import DirectoryStore
    from cache.store import Store

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FORMAT: Final = 1
_INDEX: Final = "artifacts.json"
_LONGEST_INDEX: Final = 64 * 2**20
_LONGEST_NAME: Final = 255
_WRITTEN: Final = "archive"
_PIECE: Final = 2**20


@dataclass(frozen=True, slots=True)
class Imported:
    """What came out of an archive.

    Attributes:
        added: artifacts that were not there before.
        known: artifacts that were.
        size_bytes: of what was added.
    """

    added: tuple[Key, ...]
    known: tuple[Key, ...]
    size_bytes: int


def export_artifacts(store: Store, keys: Sequence[Key], file: Path) -> int:
    """Write artifacts into one file, which appears or is replaced in one step; return its size in bytes.

    What a killed process leaves beside it is removed by the next one that writes there.

    Args:
        store: holds them.
        keys: in the order in which they are to be published elsewhere; equal artifacts make equal files.
        file: the archive.

    Raises:
        StoreError: an artifact is missing or damaged.
        OSError: the file cannot be written.
    """
    folder = new_partial_path(file.parent)
    partial = folder / _WRITTEN
    try:
        folder.mkdir()
        remove_abandoned(file.parent)
        with partial.open("xb") as into, tarfile.open(fileobj=into, mode="w", format=tarfile.PAX_FORMAT) as archive:
            artifacts = [store.read(key) for key in keys]
            manifests = [encode_manifest(artifact.manifest).decode() for artifact in artifacts]
            index = canonical_json({"format": _FORMAT, "manifests": manifests})
            archive.addfile(_entry(_INDEX, len(index)), io.BytesIO(index))
            for artifact in artifacts:
                for name, member in artifact.manifest.members.items():
                    with artifact.path(name).open("rb") as content:
                        archive.addfile(_entry(f"{artifact.key}/{name}", member.size_bytes), content)
        sync(partial)
        partial.replace(file)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync(file.absolute().parent)
    return file.stat().st_size


def import_artifacts(store: DirectoryStore, file: Path, check: Callable[[Sequence[Artifact]], None]) -> Imported:
    """Take over the artifacts of an archive: all of them, or none if anything about the archive is wrong.

    Args:
        store: takes them; what it holds already stays as it is.
        file: made by :func:`export_artifacts`, here or elsewhere.
        check: is shown all artifacts, those that are known too, before any is published; raises to refuse them.

    Raises:
        NotPortableError: the file is not such an archive, is not whole, holds what it should not, or the disk is full.
        OSError: the file cannot be read.
    """
    if file.exists() and not (file.is_file() or file.is_dir()):
        raise _refusal(file, "it is a pipe or a device, whose end may never come")
    with file.open("rb") as source, store.scratch() as folder:
        try:
            with tarfile.open(fileobj=source, mode="r:") as archive:
                manifests = _manifests(archive, file)
                added = [manifest for manifest in manifests if manifest.key not in store]
                _require_room(store, added, file)
                _unpack(archive, manifests, added, folder, file)
        except tarfile.TarError as error:
            raise _refusal(file, f"it is not a whole tar archive ({error})") from error
        check([_opened(manifest, folder, store) for manifest in manifests])
        for manifest in added:
            store.take_over(manifest, _place(folder, manifest.key))
    known = tuple(manifest.key for manifest in manifests if manifest not in added)
    return Imported(tuple(m.key for m in added), known, sum(m.size_bytes for m in added))


def _entry(name: str, size_bytes: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size_bytes, 0o644
    return entry


def _manifests(archive: tarfile.TarFile, file: Path) -> list[Manifest]:
    """Read what is to come."""
    entry = archive.next()
    if entry is None or entry.name != _INDEX or entry.size > _LONGEST_INDEX:
        raise _refusal(file, f"it does not begin with a file {_INDEX} of a reasonable size")
    try:
        index = json.loads(_content(archive, entry, file).read())
        is_newer = index["format"] > _FORMAT
        manifests = [] if is_newer else [_manifest(encoded) for encoded in index["manifests"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, StoreError) as error:
        raise _refusal(file, f"its {_INDEX} does not describe artifacts") from error
    if is_newer:
        raise NotPortableError(f"{file} comes from a newer RankScope; update this one.")
    if len({manifest.key for manifest in manifests}) < max(len(manifests), 1):
        raise _refusal(file, "it describes no artifact, or one of them twice")
    return manifests


def _manifest(encoded: str) -> Manifest:
    """Read one manifest, which comes from anywhere.

    Raises:
        StoreError: it is not one, or describes files that no artifact can have.
    """
    document = json.loads(encoded)
    key = Key(document["stage"], document["fingerprint"])
    manifest = decode_manifest(key, encoded.encode())
    if not all(_is_plain(name, member) for name, member in manifest.members.items()):
        raise StoreError(f"The artifact {key} has a member whose name, size or hash is not one.")
    plain_about(manifest.about)
    datetime.fromisoformat(manifest.created)
    return manifest


def _is_plain(name: str, member: Member) -> bool:
    """Whether a member lies in its artifact's own folder, and is described by a size and a hash."""
    is_name = name.isprintable() and 0 < len(name) <= _LONGEST_NAME and not {"/", "\\"} & set(name)
    is_size = isinstance(member.size_bytes, int) and not isinstance(member.size_bytes, bool) and member.size_bytes >= 0
    is_hash = isinstance(member.sha256, str) and _SHA256.fullmatch(member.sha256) is not None
    return is_name and name not in (".", "..", MANIFEST_NAME) and is_size and is_hash


def _require_room(store: DirectoryStore, added: Sequence[Manifest], file: Path) -> None:
    needed, free = sum(manifest.size_bytes for manifest in added), shutil.disk_usage(store.root).free
    if needed > free:
        raise _refusal(file, f"it holds {needed / 1e9:,.2f} GB and {free / 1e9:,.2f} GB are free on {store.root}")


def _unpack(
    archive: tarfile.TarFile, manifests: Sequence[Manifest], added: Sequence[Manifest], folder: Path, file: Path
) -> None:
    """Write the members of what is to be added, each of which must be the next in the archive."""
    wanted = {manifest.key for manifest in added}
    for manifest in manifests:
        place = _place(folder, manifest.key)
        place.mkdir(parents=True)
        for name, member in manifest.members.items():
            entry = archive.next()
            if entry is None:
                raise _refusal(file, f"it ends before {manifest.key}/{name}")
            if entry.name != f"{manifest.key}/{name}" or entry.size != member.size_bytes:
                raise _refusal(file, f"it holds {entry.name!r} where {manifest.key}/{name} should be")
            content = _content(archive, entry, file)
            if manifest.key in wanted and _copied(content, place / name) != member.sha256:
                raise _refusal(file, f"the content of {entry.name} is not what was written")
    if (entry := archive.next()) is not None:
        raise _refusal(file, f"it holds {entry.name!r}, which belongs to nothing it describes")


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo, file: Path) -> IO[bytes]:
    """Return the content of an entry that is a file and nothing else."""
    content = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
    if content is None:
        raise _refusal(file, f"{entry.name!r} is not a regular file")
    return content


def _copied(content: IO[bytes], into: Path) -> str:
    """Copy a file in pieces; return its hash."""
    digest = hashlib.sha256()
    with into.open("xb") as target:
        while piece := content.read(_PIECE):
            digest.update(piece)
            target.write(piece)
    return digest.hexdigest()


def _opened(manifest: Manifest, folder: Path, store: DirectoryStore) -> Artifact:
    if manifest.key in store:
        return store.read(manifest.key)
    place = _place(folder, manifest.key)
    return Artifact(manifest, lambda: place)


def _place(folder: Path, key: Key) -> Path:
    return folder / key.stage / key.fingerprint


def _refusal(file: Path, why: str) -> NotPortableError:
    return NotPortableError(f"{os.fspath(file)} cannot be imported: {why}. Make the archive again where it comes from.")
