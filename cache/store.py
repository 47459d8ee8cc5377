"""What every store of artifacts promises."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, TypeVar

from cache.artifact import Artifact
from cache.errors import DamagedArtifactError, MissingArtifactError, NewerArtifactError, StoreError
from cache.keys import Key

T = TypeVar("T")


class Store(Protocol):
    """Artifacts by key; each is whole or not there, never changes, and is checked when it is read."""

    def writing(self, key: Key, about: Mapping[str, object]) -> AbstractContextManager[Path]:
        """Open an empty folder to fill with files; publish them together on a clean exit.

        On an exception everything is discarded. The first writer wins: when the key exists by the time of
        publishing, this folder is discarded without an error.

        Args:
            key: what to store it under.
            about: JSON values for people who list the store; not part of the key.

        Raises:
            StoreError: on exit, when the folder holds what cannot be a member (a sub-folder, a link,
                a file called ``manifest.json``).
            TypeError: ``about`` is not a mapping of JSON values.
            ValueError: ``about`` holds NaN or an infinity.
        """
        ...

    def read(self, key: Key) -> Artifact:
        """Open an artifact.

        Raises:
            MissingArtifactError: there is none.
            DamagedArtifactError: it is not what was written.
            NewerArtifactError: a later version of this program wrote it.
        """
        ...

    def __contains__(self, key: Key) -> bool: ...

    def keys(self, stage: str | None = None) -> list[Key]:
        """List the artifacts, damaged ones included, sorted; of one stage or of all.

        Raises:
            InvalidKeyError: no stage can have that name.
        """
        ...

    def delete(self, key: Key) -> None:
        """Remove an artifact, damaged or not.

        Raises:
            MissingArtifactError: there is none.
        """
        ...


def unreadable(store: Store) -> list[tuple[Key, DamagedArtifactError | NewerArtifactError]]:
    """Verify every artifact of a store; return those that are damaged or of a later version, with the reason."""
    found: list[tuple[Key, DamagedArtifactError | NewerArtifactError]] = []
    listed = store.keys()
    for key in listed:
        try:
            store.read(key).verify()
        except (DamagedArtifactError, NewerArtifactError) as error:
            found.append((key, error))
        except MissingArtifactError:
            continue  # deleted since it was listed
    return found


def read_stage(store: Store, stage: str, read: Callable[[Artifact], T | None]) -> tuple[list[T], list[StoreError]]:
    """Read every artifact of a stage; one that is damaged, or of a later version, hides no other.

    Args:
        store: where they are kept.
        stage: of the artifacts.
        read: takes what is wanted from an artifact; ``None`` leaves the artifact out.

    Returns:
        What was read, in the order of the keys, and for each artifact that could not be read a sentence.
    """
    values: list[T] = []
    unreadable: list[StoreError] = []
    for key in store.keys(stage):
        try:
            value = read(store.read(key))
        except MissingArtifactError:
            continue  # deleted since it was listed
        except (DamagedArtifactError, NewerArtifactError) as error:
            unreadable.append(error)
        else:
            if value is not None:
                values.append(value)
    return values, unreadable
