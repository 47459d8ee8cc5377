"""Artifacts in memory, for tests and for work that need not last."""

import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from cache.artifact import Artifact, missing
from cache.keys import Key
from cache.manifest import MANIFEST_NAME, decode_manifest, describe_folder, encode_manifest, plain_about


class MemoryStore:
    """A store whose artifacts are bytes in this process; it behaves as :class:`cache.store.Store` says.

    An artifact is written to a temporary folder when its ``folder`` or a member's path is first asked for.
    The folders go when the artifact is deleted or the store is no longer used.
    """

    def __init__(self) -> None:
        self._files: dict[Key, dict[str, bytes]] = {}
        self._folders: dict[Key, Path] = {}
        self._lock = threading.Lock()
        self._scratch = Path(tempfile.mkdtemp(prefix="rankscope-"))
        weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)

    @contextmanager
    def writing(self, key: Key, about: Mapping[str, object]) -> Iterator[Path]:
        """Open an empty folder to fill; keep its files on a clean exit unless the key exists by then."""
        plain = plain_about(about)
        with tempfile.TemporaryDirectory(dir=self._scratch) as name:
            folder = Path(name)
            yield folder
            manifest = describe_folder(key, plain, folder)
            files = {member: (folder / member).read_bytes() for member in manifest.members}
        self._files.setdefault(key, files | {MANIFEST_NAME: encode_manifest(manifest)})

    def read(self, key: Key) -> Artifact:
        """Open an artifact; raises MissingArtifactError when there is none."""
        files = self._files.get(key)
        if files is None:
            raise missing(key)
        return Artifact(decode_manifest(key, files[MANIFEST_NAME]), partial(self._materialise, key))

    def __contains__(self, key: Key) -> bool:
        return key in self._files

    def keys(self, stage: str | None = None) -> list[Key]:
        """List the artifacts, sorted; of one stage or of all."""
        wanted = None if stage is None else Key(stage, "0" * 64).stage
        return sorted(key for key in list(self._files) if wanted in (None, key.stage))

    def delete(self, key: Key) -> None:
        """Remove an artifact; raises MissingArtifactError when there is none."""
        with self._lock:
            if self._files.pop(key, None) is None:
                raise missing(key)
            folder = self._folders.pop(key, None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

    def _materialise(self, key: Key) -> Path:
        with self._lock:
            if key not in self._files:
                raise missing(key)
            if key not in self._folders:
                folder = Path(tempfile.mkdtemp(dir=self._scratch))
                for name, content in self._files[key].items():
                    (folder / name).write_bytes(content)
                self._folders[key] = folder
            return self._folders[key]
