"""Artifacts as folders on disk that appear and disappear in one step."""

import errno
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from cache.artifact import Artifact, check_names, missing, require_manifest
from cache.errors import InvalidKeyError
from cache.files import sync
from cache.keys import Key
from cache.manifest import (
    MANIFEST_NAME,
    Manifest,
    decode_manifest,
    describe_folder,
    encode_manifest,
    plain_about,
)
from cache.partials import new_partial_path, remove_abandoned

_IS_OCCUPIED = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR)


class DirectoryStore:
    """A :class:`cache.store.Store` under ``root/stage/fingerprint/``; safe against crashes and other processes.

    An artifact is filled in ``root/.partial/``, synced to disk, given its manifest and moved to its place by
    one rename: whoever looks sees all of it or nothing. Deleting takes the same way back. The folders hold no
    absolute paths, so that ``root`` may be moved or copied. Machines may share a store in a network folder: whether
    a writer on another machine lives is not known here, so what it began is left alone for a day.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._partials = self.root / ".partial"

    @contextmanager
    def writing(self, key: Key, about: Mapping[str, object]) -> Iterator[Path]:
        """Open an empty folder to fill; publish it on a clean exit unless the key exists by then."""
        plain = plain_about(about)
        partial = new_partial_path(self._partials)
        partial.mkdir(parents=True)
        try:
            yield partial
            if key not in self:
                self._publish(describe_folder(key, plain, partial), partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Open an empty folder for what is too large for memory; it is gone afterwards.

        What processes of this machine left of theirs when they were killed is removed first.
        """
        remove_abandoned(self._partials, elsewhere_after_s=math.inf)
        folder = new_partial_path(self._partials)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def read(self, key: Key) -> Artifact:
        """Open an artifact; its names and sizes are checked now, its contents when they are asked for."""
        folder = self._folder(key)
        require_manifest(key, folder)
        try:
            manifest = decode_manifest(key, (folder / MANIFEST_NAME).read_bytes())
        except FileNotFoundError:
            raise missing(key) from None
        check_names(manifest, folder)
        return Artifact(manifest, lambda: folder)

    def take_over(self, manifest: Manifest, folder: Path) -> None:
        """Publish an artifact that was made elsewhere, unless the key exists.

        Args:
            manifest: of the artifact.
            folder: its members, which have been checked, and nothing else; on the store's disk. It may be gone
                afterwards.
        """
        if manifest.key not in self:
            self._publish(manifest, folder)

    def __contains__(self, key: Key) -> bool:
        return (self._folder(key) / MANIFEST_NAME).is_file()

    def keys(self, stage: str | None = None) -> list[Key]:
        """List the artifacts, damaged ones included, sorted; of one stage or of all."""
        pattern = f"{'*' if stage is None else Key(stage, '0' * 64).stage}/*/{MANIFEST_NAME}"
        found = []
        for path in self.root.glob(pattern):
            try:
                key = Key(path.parent.parent.name, path.parent.name)
            except InvalidKeyError:
                continue
            if key in self:
                found.append(key)
        return sorted(found)

    def delete(self, key: Key) -> None:
        """Remove an artifact, damaged or not; a reader sees all of it or nothing."""
        if not self._discard(key):
            raise missing(key)

    def prune_partials(self) -> int:
        """Remove what dead writers left behind; return the bytes freed."""
        return remove_abandoned(self._partials)

    def _folder(self, key: Key) -> Path:
        return self.root / key.stage / key.fingerprint

    def _publish(self, manifest: Manifest, partial: Path) -> None:
        for name in manifest.members:
            sync(partial / name)
        (partial / MANIFEST_NAME).write_bytes(encode_manifest(manifest))
        sync(partial / MANIFEST_NAME)
        sync(partial)
        final = self._folder(manifest.key)
        final.parent.mkdir(exist_ok=True)
        sync(self.root)
        while manifest.key not in self:
            try:
                partial.rename(final)
            except OSError as error:
                if error.errno not in _IS_OCCUPIED:
                    raise
                if manifest.key not in self:  # what lost its manifest is no artifact and makes room
                    self._discard(manifest.key)
        sync(final.parent)

    def _discard(self, key: Key) -> bool:
        """Take a folder out of sight in one step, then remove it; tell whether there was one."""
        self._partials.mkdir(parents=True, exist_ok=True)
        trash = new_partial_path(self._partials)
        folder = self._folder(key)
        try:
            folder.rename(trash)
        except FileNotFoundError:
            return False
        sync(folder.parent)
        shutil.rmtree(trash, ignore_errors=True)
        return True
