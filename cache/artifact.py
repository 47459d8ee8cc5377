"""Reading one artifact: a file is handed out only after its size and hash have been checked."""

from __future__ import annotations

import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cache.codecs import read_arrays, read_json
from cache.errors import DamagedArtifactError, MissingArtifactError, StoreError
from cache.fingerprint import fingerprint_file
from cache.keys import Key
from cache.manifest import MANIFEST_NAME, Manifest, damage

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """A published artifact, open for reading.

    ``locate`` returns the folder of its files, putting them there first where the store keeps them elsewhere.
    """

    manifest: Manifest
    locate: Callable[[], Path]

    @property
    def key(self) -> Key:
        """The key it is stored under."""
        return self.manifest.key

    @property
    def folder(self) -> Path:
        """The folder that holds the members and the manifest, and nothing else.

        For libraries that open a folder by themselves, such as transformers; call :meth:`verify` before.
        """
        return self.locate()

    def path(self, member: str) -> Path:
        """Return the path of a member whose content has been checked.

        A file is hashed once per process, and again when it has changed since.

        Raises:
            StoreError: the artifact never had such a member.
            MissingArtifactError: the artifact was deleted after it had been opened.
            DamagedArtifactError: the file is gone or is not what was written.
        """
        expected = self.manifest.members.get(member)
        if expected is None:
            names = ", ".join(self.manifest.members) or "no members"
            raise StoreError(f"Artifact {self.key} has no member {member!r}; it holds {names}.")
        path = self.folder / member
        try:
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode):
                raise damage(self.key, f"its member {member!r} is not a regular file")
            if status.st_size != expected.size_bytes:
                raise _wrong_size(self.key, member, status.st_size, expected.size_bytes)
            sha256 = _hash_once(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        except FileNotFoundError:
            require_manifest(self.key, path.parent)
            raise damage(self.key, f"its member {member!r} is missing") from None
        if sha256 != expected.sha256:
            raise damage(self.key, f"the content of its member {member!r} is not what was written")
        return path

    def json(self, member: str) -> Any:
        """Read a member that was written by :func:`cache.codecs.write_json`; raises like :meth:`path`."""
        return read_json(self.path(member))

    def arrays(self, member: str) -> dict[str, npt.NDArray[Any]]:
        """Read a member that was written by :func:`cache.codecs.write_arrays`; raises like :meth:`path`."""
        return read_arrays(self.path(member))

    def verify(self) -> None:
        """Check every member, and that there is nothing else.

        Raises:
            MissingArtifactError: the artifact was deleted after it had been opened.
            DamagedArtifactError: a member is missing or changed, or a file was added.
        """
        check_names(self.manifest, self.folder)
        for member in self.manifest.members:
            self.path(member)


def check_names(manifest: Manifest, folder: Path) -> None:
    """Check that a folder holds the members, at their sizes, the manifest and nothing else; hash nothing.

    Raises:
        MissingArtifactError: there is no manifest, and so no artifact.
        DamagedArtifactError: a member is missing or has another size, or a file was added.
    """
    require_manifest(manifest.key, folder)
    try:
        found = {path.name: path.lstat().st_size for path in folder.iterdir() if path.name != MANIFEST_NAME}
    except FileNotFoundError:
        raise missing(manifest.key) from None
    for name, expected in manifest.members.items():
        if name not in found:
            raise damage(manifest.key, f"its member {name!r} is missing")
        if found[name] != expected.size_bytes:
            raise _wrong_size(manifest.key, name, found[name], expected.size_bytes)
    if added := sorted(found.keys() - manifest.members.keys()):
        raise damage(manifest.key, f"{added[0]!r} was added to it after it was published")


def missing(key: Key) -> MissingArtifactError:
    """Build the error for a key without an artifact."""
    return MissingArtifactError(
        f"There is no artifact {key}. Compute it again, or see `rankscope cache list` for those there are."
    )


def require_manifest(key: Key, folder: Path) -> None:
    """Raise MissingArtifactError unless the folder holds a manifest: without one there is no artifact."""
    if not (folder / MANIFEST_NAME).is_file():
        raise missing(key)


def _wrong_size(key: Key, member: str, found_bytes: int, written_bytes: int) -> DamagedArtifactError:
    return damage(key, f"its member {member!r} has {found_bytes:,} bytes, {written_bytes:,} were written")


@lru_cache(maxsize=16_384)
def _hash_once(path: Path, size: int, mtime_ns: int, ctime_ns: int, inode: int) -> str:  # noqa: ARG001
    """Hash a file once for every state it has been seen in."""
    return fingerprint_file(path)
